"""The inventory CSV: what it says, what is wrong with it, and that writing it back says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import ConfigError, OperatorError
from ingest.inventory import Area, Centre, Device, DeviceClass, InventoryDelta, Site
from ingest.inventory_file import difference, parse_inventory, write_inventory

HEADER = "kind,id,parent,name,class,lat,lon,expected_interval_s,credential,attributes\n"


def parse(tmp_path: Path, *lines: str, known: InventoryDelta | None = None) -> InventoryDelta:
    path = tmp_path / "inventory.csv"
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return parse_inventory(path, known)


def problems(tmp_path: Path, *lines: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(tmp_path, *lines)
    return [problem.removeprefix(str(tmp_path / "inventory.csv")) for problem in caught.value.problems]


def hashed(digest: bytes) -> str:
    return f"sha256:{digest.hex()}"


def test_a_file_says_areas_centres_sites_and_devices(tmp_path: Path) -> None:
    delta = parse(
        tmp_path,
        "area,yuhua,,雨花区,,,,,,",
        "area,yuhua.daishan,yuhua,岱山,,,,,,",
        "centre,c1,yuhua,智慧消防服务中心,,,,,,",
        'site,s1,yuhua.daishan,"1号车棚, 北",,31.95,118.7,,,"{""floor"": 1}"',
        "device,g1,s1,,gateway,,,,,",
        "device,d1,g1,,smoke_head,,,60,cert,",
        "",
    )
    assert delta.areas[1] == Area(id="yuhua.daishan", name="岱山", parent="yuhua")
    assert delta.centres == [Centre(id="c1", name="智慧消防服务中心", parent="yuhua")]
    assert delta.sites == [
        Site(id="s1", name="1号车棚, 北", parent="yuhua.daishan", lat=31.95, lon=118.7, attributes={"floor": 1})
    ]
    assert delta.devices == [
        Device(id="g1", site="s1", device_class=DeviceClass.GATEWAY),
        Device(
            id="d1",
            site="s1",
            gateway="g1",
            device_class=DeviceClass.SMOKE_HEAD,
            expected_interval_s=60,
            credential="cert",
        ),
    ]


def test_a_gateway_may_stand_behind_a_gateway_and_after_its_devices(tmp_path: Path) -> None:
    delta = parse(
        tmp_path,
        "device,d,g2,,heat_head,,,,,",
        "device,g2,g1,,gateway,,,,,",
        "device,g1,s,,gateway,,,,,",
        "site,s,,,,,,,,",
    )
    assert [(device.id, device.site, device.gateway) for device in delta.devices] == [
        ("d", "s", "g2"),
        ("g2", "s", "g1"),
        ("g1", "s", ""),
    ]


def test_the_same_device_id_may_stand_at_two_sites(tmp_path: Path) -> None:
    delta = parse(tmp_path, "site,a,,,,,,,,", "site,b,,,,,,,,", *(f"device,d,{s},,siren,,,,," for s in "ab"))
    assert [device.site for device in delta.devices] == ["a", "b"]


def test_parents_may_be_known_from_before(tmp_path: Path) -> None:
    known = InventoryDelta(areas=[Area(id="a")], sites=[Site(id="s")], devices=[Device(id="g", site="s")])
    delta = parse(tmp_path, "site,t,a,,,,,,,", "device,d,s,,camera,,,,,", "device,e,g,,camera,,,,,", known=known)
    assert [(device.site, device.gateway) for device in delta.devices] == [("s", ""), ("s", "g")]


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["shed,x,,,,,,,,"], ":2: unknown kind 'shed'; give one of area, centre, site, device"),
        (["site,,,,,,,,,"], ":2: this site has no id"),
        (["site,a/b,,,,,,,,"], ":2: id 'a/b' has a character"),
        (["site,s,nowhere,,,,,,,"], ":2: parent 'nowhere' is no area"),
        (["site,s,,,,,,,,", "site,s,,,,,,,,"], ":3: site 's' stands already at"),
        (["site,s,,,,,,,,", "device,d,s,,siren,,,,,", "device,d,s,,siren,,,,,"], ":4: device 'd' stands already"),
        (
            ["site,s,,,,,,,,", "device,g,s,,siren,,,,,", "device,d,g,,siren,,,,,", "device,d,s,,siren,,,,,"],
            ":5: device 'd' of site 's' stands twice",
        ),
        (["device,d,,,siren,,,,,"], ":2: a device needs a parent"),
        (["device,d,s,,siren,,,,,"], ":2: parent 's': no site and no device"),
        (["site,s,,,,,,,,", "device,d,s,,,,,,,"], ":3: class is empty; give one of smoke_head"),
        (["site,s,,,,,,,,", "device,d,s,,toaster,,,,,"], ":3: unknown class 'toaster'"),
        (["site,s,,,,north,,,,"], ":2: lat 'north' is no number from -90 to 90"),
        (["site,s,,,,91,,,,"], ":2: lat '91' is no number"),
        (["site,s,,,,nan,,,,"], ":2: lat 'nan' is no number"),
        (["site,s,,,,,,,,", "device,d,s,,siren,,,0,,"], ":3: expected_interval_s '0' is no number from 1"),
        (["site,s,,,,,,,,{floor: 1}"], ":2: attributes are not JSON"),
        (["site,s,,,,,,,,[1]"], ":2: attributes must be a JSON object"),
        (['site,s,,,,,,,,"{""a"": NaN}"'], ":2: attributes are not JSON"),
        (["site,s,,,siren,,,,,"], ":2: a site has no class; leave it empty"),
        (["site,s,,"], ":2: 4 cells, the header has 10"),
        (["area,a,b,,,,,,,", "area,b,a,,,,,,,"], ":2: areas are parents of each other: a → b → a"),
        (["area,a,a,,,,,,,"], ":2: areas are parents of each other: a → a"),
        (["device,d,e,,siren,,,,,", "device,e,d,,siren,,,,,"], ":2: device 'd' is behind itself"),
        *(
            (
                ["site,s,,,,,,,,", f"device,d,s,,siren,,,,{text},"],
                ":3: credential is neither empty, nor cert, nor sha256:",
            )
            for text in ("hunter2", "CERT", "sha256:", "sha256:" + "g" * 64, "sha256:" + "0" * 63, "sha1:" + "0" * 40)
        ),
        (["site,s,,,,,,,cert,"], ":2: a site has no credential"),
        (['site,s,,"un"closed,,,,,,'], ":2: not CSV"),
    ],
)
def test_each_mistake_is_one_line(tmp_path: Path, lines: list[str], wanted: str) -> None:
    found = problems(tmp_path, *lines)
    assert any(problem.startswith(wanted) for problem in found), found
    assert all("\n" not in problem for problem in found)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    assert len(problems(tmp_path, "shed,x,,,,,,,,", "site,s,nowhere,,,95,,,,", "device,d,s,,toaster,,,,,")) == 4


def test_a_credential_that_is_none_is_never_repeated_in_the_message(tmp_path: Path) -> None:
    assert "hunter2" not in problems(tmp_path, "site,s,,,,,,,,", "device,d,s,,siren,,,,hunter2,")[0]


def test_the_hash_of_a_secret_may_be_written_in_capitals(tmp_path: Path) -> None:
    delta = parse(tmp_path, "site,s,,,,,,,,", f"device,d,s,,siren,,,,SHA256:{'0A' * 32},")
    assert delta.devices[0].credential == "sha256:" + "0a" * 32


def test_line_numbers_count_lines_inside_quoted_cells(tmp_path: Path) -> None:
    assert problems(tmp_path, 'area,a,,"two', 'lines",,,,,,', "shed,x,,,,,,,,")[0].startswith(":4: unknown kind")


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", "missing column kind, id, parent"),
        (HEADER.replace(",class", ""), "missing column class"),
        (HEADER.replace("class", "klass"), "unknown column klass"),
        (HEADER.strip() + ",id\n", "column twice: id"),
    ],
)
def test_a_wrong_header_is_named(tmp_path: Path, header: str, wanted: str) -> None:
    path = tmp_path / "inventory.csv"
    path.write_text(header)
    with pytest.raises(ConfigError) as caught:
        parse_inventory(path)
    assert wanted in str(caught.value) and ":1: " in str(caught.value)


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "inventory.csv"
    path.write_text("id,kind,parent,name,class,lat,lon,expected_interval_s,credential,attributes\ns,site,,,,,,,,\n")
    assert parse_inventory(path).sites == [Site(id="s")]


def test_a_bom_is_harmless_and_other_encodings_are_one_clear_line(tmp_path: Path) -> None:
    path, text = tmp_path / "inventory.csv", f"{HEADER}site,s,,车棚,,,,,,\n"
    path.write_text(text, encoding="utf-8-sig")
    assert parse_inventory(path).sites == [Site(id="s", name="车棚")]
    for encoding, wanted in (("gbk", r":2: not UTF-8 text \(it looks like GBK\)"), ("utf-16", ":1: this is UTF-16")):
        path.write_text(text, encoding=encoding)
        with pytest.raises(ConfigError, match=wanted):
            parse_inventory(path)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        parse_inventory(tmp_path / "none.csv")
    with pytest.raises(OperatorError, match="no such file"):
        write_inventory(InventoryDelta(), tmp_path / "none" / "x.csv")


_text = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=8).map(str.strip)
_numbers = st.one_of(st.none(), st.floats(-90, 90))
_ids = st.lists(st.text("abc-é.", min_size=1, max_size=4), unique=True, min_size=1, max_size=5)


_credentials = st.one_of(st.sampled_from(["", "cert"]), st.binary(min_size=32, max_size=32).map(hashed))


@given(_ids, _ids, _text, _numbers, _credentials, st.dictionaries(_text, st.one_of(st.none(), st.integers(), _text)))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    sites: list[str],
    devices: list[str],
    name: str,
    number: float | None,
    credential: str,
    attributes: dict[str, object],
) -> None:
    delta = InventoryDelta(
        areas=[Area(id="top", name=name), Area(id="low", parent="top", attributes=attributes)],
        centres=[Centre(id="c", parent="top", lat=number, lon=number)],
        sites=[Site(id=f"s{site}", parent="low", name=name, lat=number) for site in sites],
        devices=[
            Device(id=f"d{device}", site=f"s{sites[0]}", name=name, credential=credential, attributes=attributes)
            for device in devices
        ],
    )
    path = tmp_path_factory.mktemp("inventory") / "inventory.csv"
    write_inventory(delta, path)
    assert parse_inventory(path) == delta


def test_the_difference_is_what_is_new_or_not_the_same() -> None:
    there = InventoryDelta(sites=[Site(id="a"), Site(id="b")], devices=[Device(id="d", site="a")])
    wanted = InventoryDelta(
        sites=[Site(id="a"), Site(id="b", name="B")],
        devices=[Device(id="d", site="a"), Device(id="d", site="b")],
    )
    assert difference(wanted, there) == InventoryDelta(
        sites=[Site(id="b", name="B")], devices=[Device(id="d", site="b")]
    )
