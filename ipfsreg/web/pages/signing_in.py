"""``/sign-in`` and ``/sign-out``."""

from ipfsreg.web.errors import HttpError
from ipfsreg.web.forms import read_form
from ipfsreg.web.gate import Entry
from ipfsreg.web.http.budget import Budget
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import parameter
from ipfsreg.web.routes import Routes

from .answers import Answers
from .paths import HOME, SIGN_IN, SIGN_OUT, local_path
from .text import clip

_NAME_MAX = 255


class SignInPages:
    """Signing in with the name and password of `docker login`, and out again."""

    def __init__(self, answers: Answers, memory: Budget) -> None:
        self._answers = answers
        self._memory = memory

    def add_to(self, routes: Routes) -> None:
        """Add the routes. Nobody looks at credentials: this is how one says who one is."""
        self._answers.add(routes, SIGN_IN, ["GET", "HEAD"], "sign-in", self.ask, Entry.EVERYBODY)
        self._answers.add(routes, SIGN_IN, ["POST"], "sign-in-post", self.sign_in, Entry.EVERYBODY)
        self._answers.add(routes, SIGN_OUT, ["POST"], "sign-out", self.sign_out, Entry.EVERYBODY)

    async def ask(self, request: Request) -> bytes:
        """The form."""
        return await self._form(request, local_path(parameter(request, "then")))

    async def sign_in(self, request: Request) -> bytes:
        """Begin a session, and go on to where the visitor wanted to be."""
        form = await read_form(request, self._memory)
        then, name = local_path(form.get("then", [HOME])[0]), form.get("name", [""])[0].strip()
        if not self._answers.forms.is_ours(request, form):
            return await self._form(request, then, name, "The page was too old to be sent: sign in once more.", 403)
        try:
            if name and await self._answers.visitors.sign_in(request, name, form.get("password", [""])[0]):
                return self._answers.redirect(request, then)
        except HttpError as error:
            for header, value in error.headers.items():
                request.set_header(header, value)
            return await self._form(request, then, name, f"{str(error).capitalize()}.", error.status)
        return await self._form(request, then, name, "Name or password is wrong.", 403)

    async def sign_out(self, request: Request) -> bytes:
        """End the session."""
        self._answers.forms.check(request, await read_form(request, self._memory))
        await self._answers.visitors.sign_out(request)
        return self._answers.redirect(request, HOME)

    async def _form(self, request: Request, then: str, name: str = "", problem: str = "", status: int = 200) -> bytes:
        return await self._answers.page(
            request,
            "sign-in.html",
            "Sign in",
            status=status,
            then=then,
            name=clip(name, _NAME_MAX),
            problem=problem,
        )
