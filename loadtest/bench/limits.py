"""How many files a process may have open: each connection is one."""

import resource


class TooFewFiles(Exception):
    """The machine does not allow a process as many files as a line needs."""


def allow_files(count: int) -> None:
    """Raises the soft limit of this process, and of those it starts, to the hard one. Raises TooFewFiles."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise TooFewFiles(f"a process needs {count} open files here and may have {hard}: raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
