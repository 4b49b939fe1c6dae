"""What the sections of all backends have in common."""

from platformdirs import user_data_path

from ..options import Directory, Section


class BackendOptions(Section):
    """The base of a backend's section.

    Every backend has a directory on this disk: ``local`` keeps everything there, the others what is on its way.
    """

    path: Directory = user_data_path("ipfsreg")

    def problem(self) -> str | None:
        """What has to be set or made before a daemon can use the backend, in one line; None where nothing has to.

        Unlike what validation finds, it may be missing while the backend is only being set up.
        """
        return None
