"""Errors, named for what the caller does next.

EmberwatchError
├── OperatorError        a person must change something; the message says where, what, and what would be right
│   └── ConfigError      all problems of one file or of the settings at once
├── Unavailable          a server or the disk is away: keep the work, try again later
│   └── LogFull          the log's quota or disk is used up: stop acknowledging, raise a fault
├── Undecodable          this one message cannot be understood: set it aside with the reason
├── BelowFloor           the log no longer holds this offset: never skip in silence
└── Fenced               another owner took over: stop at once, write nothing more
"""


class EmberwatchError(Exception):
    """Base of every error this project raises on purpose."""


class OperatorError(EmberwatchError):
    """A person must change something; printed as one line, exit code 1."""


class ConfigError(OperatorError):
    """Everything wrong with one configuration, each problem as `where: what; what would be right`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Unavailable(EmberwatchError):
    """A dependency is away for now: nothing is lost, try again."""


class LogFull(Unavailable):
    """The log's quota or its disk is used up; an append was refused whole, nothing of it was kept."""


class Undecodable(EmberwatchError):
    """A payload cannot be understood; `str(error)` is the reason kept with it in quarantine."""


class BelowFloor(EmberwatchError):
    """An offset below the log's floor was asked for; the records were trimmed."""


class Fenced(EmberwatchError):
    """A newer owner of this role and shard exists; its epoch is higher than ours."""
