"""YAML files that people write: loaded strictly, every problem with its file and line."""

from __future__ import annotations

from pathlib import Path

import yaml

from ingest.errors import ConfigError


class ConfigFile:
    """A parsed YAML document that remembers where each of its parts stands.

    `data` is plain Python; `where("rules", 0, "above")` answers `file:line` of that part, or of the nearest part
    above it that exists. Problems are collected with `problem` and raised together by `finish`.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.problems: list[str] = []
        self._lines: dict[tuple[str | int, ...], int] = {}
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            self.data: object = None if node is None else self._build(node, ())
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigError([f"{name}:{line}: not valid YAML: {error.problem}"]) from None
        except yaml.YAMLError as error:
            raise ConfigError([f"{name}: not valid YAML: {' '.join(str(error).split())}"]) from None
        if self.problems:
            raise ConfigError(self.problems)

    def where(self, *path: str | int) -> str:
        """`file:line` of the part at this path."""
        while path and path not in self._lines:
            path = path[:-1]
        return f"{self.name}:{self._lines.get(path, 1)}"

    def problem(self, text: str, *path: str | int) -> None:
        """Note a problem at a part; raised with all others by `finish`."""
        self.problems.append(f"{self.where(*path)}: {text}")

    def finish(self) -> None:
        """Raise ConfigError with every problem noted, if any."""
        if self.problems:
            raise ConfigError(self.problems)

    def _build(self, node: yaml.Node, path: tuple[str | int, ...]) -> object:
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(child, (*path, index)) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._build_mapping(node, path)
        constructor = yaml.SafeLoader("")
        try:
            value: object = constructor.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError) as error:
            self.problem(f"cannot be read as a value: {error}", *path)
            return None
        return value

    def _build_mapping(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> dict[str, object]:
        built: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in built:
                self.problems.append(f"{self.name}:{key_node.start_mark.line + 1}: {key} stands twice; keep one")
                continue
            self._lines[(*path, key)] = key_node.start_mark.line + 1
            built[key] = self._build(value_node, (*path, key))
        return built


def read_config_text(path: Path) -> str:
    """The text of a configuration file; ConfigError when it is missing or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: {(error.strerror or str(error)).lower()}; name an existing file"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8"]) from None


def load_config_file(path: Path) -> ConfigFile:
    """Read a YAML file; ConfigError when it is missing, not UTF-8 or not YAML."""
    return ConfigFile(read_config_text(path), str(path))
