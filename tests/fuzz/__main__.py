"""`python -m tests.fuzz`: changed payloads for every family of codecs, as many as you have time for.

Golden cases and published samples are told as conversations, most messages changed, to the codec and (a quarter of
them) to admit; after each tenth the memory starts afresh. Prints a table; exit code 1 when something was found, with
every payload saved so that `--again FILE` shows it once more.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from tests.fuzz.run import Result, run
from tests.support.fuzz import LIMIT_MS, Finding, Tally, see_again
from tests.support.letters import FAMILIES

FINDINGS = Path("fuzz-findings")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.again:
        return _again(options.again)
    if options.guided:
        return _guided(options)
    print(f"{'family':<28}{'payloads':>10}{'per s':>9}{'decoded':>9}{'slowest':>10}{'memory':>10}{'grown':>10}  found")
    failed = 0
    for result in _results(options.codec or FAMILIES, options.count, options.seed, options.jobs):
        print(_line(result), flush=True)
        failed += bool(result.wrong)
        for finding in result.tally.findings:
            print(f"    {finding.what}\n    saved as {_saved(finding)}")
        _save_slowest(result.tally)
    return 1 if failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--codec", action="append", choices=FAMILIES, help="a family; all without")
    parser.add_argument("--count", type=int, default=1_000_000, help="changed payloads a family")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="families at the same time")
    parser.add_argument("--guided", action="store_true", help="led by coverage; needs the extra fuzz (atheris)")
    parser.add_argument("--again", type=Path, metavar="FILE", help="only this finding")
    return parser.parse_args(arguments)


def _results(families: Sequence[str], count: int, seed: int, jobs: int) -> Iterator[Result]:
    """Each family in a process of its own, so that what it keeps is seen."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn, max_tasks_per_child=1) as pool:
        yield from pool.map(run, families, itertools.repeat(count), itertools.repeat(seed))


def _line(result: Result) -> str:
    tally = result.tally
    return (
        f"{tally.family:<28}{tally.payloads:>10,}{tally.payloads / max(result.seconds, 1e-3):>9,.0f}"
        f"{tally.decoded / max(tally.payloads, 1):>9.1%}{tally.slowest_ms:>7.1f} ms"
        f"{tally.memory_bytes / 1024:>6,.0f} KiB{result.grown / 2**20:>6.1f} MiB"
        f"  {'; '.join(dict.fromkeys(result.wrong))[:200] or '-'}"
    )


def _saved(finding: Finding) -> Path:
    FINDINGS.mkdir(exist_ok=True)
    name = f"{finding.family}-{len(list(FINDINGS.glob('*.json')))}.json".replace(" ", "-")
    (FINDINGS / name).write_bytes(msgspec.json.encode(finding))
    return FINDINGS / name


def _save_slowest(tally: Tally) -> None:
    """What cost most, below the limit: to look at."""
    if tally.slowest_ms > LIMIT_MS / 5:
        FINDINGS.mkdir(exist_ok=True)
        (FINDINGS / f"slowest-{tally.family}.bin".replace(" ", "-")).write_bytes(tally.slowest)


def _again(file: Path) -> int:
    what = see_again(msgspec.json.decode(file.read_bytes(), type=Finding))
    print(f"{file}: {what or 'nothing is wrong any more'}")
    return 1 if what else 0


def _guided(options: argparse.Namespace) -> int:
    """Each family in a child whose bytecode counts what it covers."""
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed; run: pip install -e '.[fuzz]'", file=sys.stderr)
        return 2
    codes = [
        subprocess.run(
            [sys.executable, "-m", "tests.fuzz.guided", family, str(options.count), str(options.seed)], check=False
        ).returncode
        for family in options.codec or FAMILIES
    ]
    return 1 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
