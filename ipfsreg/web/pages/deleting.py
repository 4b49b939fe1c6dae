"""``/repositories/<name>:<tag>/delete``: asks before a tag is deleted, and deletes it."""

from ipfsreg.access.identity import Action
from ipfsreg.registry.errors import ReadOnly
from ipfsreg.registry.events.event import EventAction, Target
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.repository.manifests import Manifests
from ipfsreg.web.errors import HttpError
from ipfsreg.web.forms import read_form
from ipfsreg.web.http.budget import Budget
from ipfsreg.web.http.request import Request
from ipfsreg.web.routes import Routes
from ipfsreg.web.teller import Teller

from .answers import Answers, Place
from .paths import HOME, REPOSITORIES, image_path, repository_path


class DeletePages:
    """Deleting tags."""

    def __init__(self, manifests: Manifests, answers: Answers, memory: Budget, teller: Teller) -> None:
        self._manifests = manifests
        self._teller = teller
        self._answers = answers
        self._memory = memory

    def add_to(self, routes: Routes) -> None:
        """Add the routes."""
        path = f"{REPOSITORIES}/<name:repository>:<tag:tag>/delete"
        self._answers.add(routes, path, ["GET", "HEAD"], "delete", self.ask, Action.DELETE)
        self._answers.add(routes, path, ["POST"], "delete-post", self.delete, Action.DELETE)

    async def ask(self, request: Request, repository: Repository, tag: Tag) -> bytes:
        """Ask whether it is meant."""
        self._check_can_change()
        return await self._answers.page(
            request,
            "delete.html",
            f"Delete {repository}:{tag}?",
            where=[
                Place("Repositories", HOME),
                Place(repository, repository_path(repository)),
                Place(tag, image_path(repository, tag)),
            ],
            repository=repository,
            tag=tag,
            digest=await self._manifests.resolve(repository, tag),
        )

    async def delete(self, request: Request, repository: Repository, tag: Tag) -> bytes:
        """Delete it, where it is still what was shown."""
        self._check_can_change()
        form = await read_form(request, self._memory)
        self._answers.forms.check(request, form)
        digest = await self._manifests.resolve(repository, tag)
        if form.get("digest", [""])[0] != str(digest):
            message = f"{tag} was pushed anew since you looked at it, and was not deleted: look again"
            raise HttpError(409, "DENIED", message)
        await self._manifests.delete_tag(repository, tag)
        await self._teller.changed(request, EventAction.DELETE, Target(repository, tag=tag))
        return self._answers.redirect(request, repository_path(repository, deleted=tag))

    def _check_can_change(self) -> None:
        if self._answers.read_only is not None:
            raise ReadOnly(self._answers.read_only)
