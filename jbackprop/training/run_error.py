"""What is raised where the folder of a run cannot be used."""


class RunError(Exception):
    """A run's folder cannot be made, read or continued. The message says where and why."""
