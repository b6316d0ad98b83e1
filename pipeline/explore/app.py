"""The app of the explorer: its addresses, and how a page becomes HTML."""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2
import markupsafe
from starlette import applications, concurrency, requests, responses, routing, types

from heatbeam.explore import grid, marking, neighbours, one_image, overview, safety, shown_run, two_runs, views
from heatbeam.explore import pictures as drawn
from heatbeam.explore import table as tables
from heatbeam.pages import page_templates
from heatbeam.transforms.errors import harmless

_FILES = {
    "report.css": ("heatbeam.pages", "templates", "text/css"),
    "overlay.css": ("heatbeam.pages", "templates", "text/css"),
    "signals.css": ("heatbeam.pages", "templates", "text/css"),
    "tables.js": ("heatbeam.pages", "templates", "text/javascript"),
    "explore.css": ("heatbeam.explore", "static", "text/css"),
    "explore.js": ("heatbeam.explore", "static", "text/javascript"),
}
"""Every file that is served: its package, its folder there and its type."""

_FOR_LONG = {"cache-control": "private, max-age=86400, immutable"}
_MOST_QUERY = 8000


class Explorer:
    """The pages.

    Args:
        runs: one or two.
        known: tokens of this explorer.
    """

    def __init__(self, runs: Sequence[shown_run.ShownRun], known: safety.Secrets):
        self._runs = {run.side: run for run in runs}
        self._two = two_runs.TwoRuns(runs[0], runs[1]) if len(runs) > 1 else None
        self._secrets = known
        self._templates = page_templates.environment(
            jinja2.ChoiceLoader(
                [
                    jinja2.PackageLoader("heatbeam.explore"),
                    jinja2.PrefixLoader({"pages": jinja2.PackageLoader("heatbeam.pages")}),
                ]
            )
        )

    def app(self) -> types.ASGIApp:
        """The app, guarded."""
        side = "/{side:str}"
        pages = applications.Starlette(
            routes=[
                routing.Route("/", self._start),
                routing.Route("/static/{name:str}", self._file),
                routing.Route("/pairs", self._pairs),
                routing.Route(f"{side}/grid", self._page(self._grid)),
                routing.Route(f"{side}/image", self._page(self._image)),
                routing.Route(f"{side}/summary", self._page(self._summary)),
                routing.Route(f"{side}/near/{{place:str}}/{{way:str}}", self._page(self._near)),
                routing.Route(f"{side}/review", self._page(self._reviews)),
                routing.Route(f"{side}/review", self._mark, methods=["POST"]),
                routing.Route(f"{side}/picture/{{place:str}}/{{px:int}}", self._picture),
                routing.Route(f"{side}/heat/{{place:str}}", self._heat),
                routing.Route(f"{side}/truth/{{place:str}}", self._truth),
                routing.Route(f"{side}/print/{{place:str}}/{{px:int}}", self._print),
                routing.Route(f"{side}/drawn/{{place:str}}", self._drawn),
            ],
            exception_handlers={404: self._missing},
        )
        return safety.Guard(pages, self._secrets)

    # Pages.

    def _page(
        self, make: Callable[[requests.Request, shown_run.ShownRun], responses.Response]
    ) -> Callable[[requests.Request], responses.Response]:
        """A page of a run, or what is wrong with its address."""

        def answer(request: requests.Request) -> responses.Response:
            run = self._runs.get(request.path_params["side"])
            if run is None:
                return self._message(404, "There is no such run here.")
            if len(request.url.query) > _MOST_QUERY:
                return self._message(414, "The address is too long.")
            try:
                return make(request, run)
            except (views.ViewError, ValueError) as error:
                return self._message(400, f"This address cannot be shown: {error}.", run)
            except LookupError as error:
                return self._message(404, f"Not here: {error.args[0]}.", run)

        return answer

    def _start(self, _: requests.Request) -> responses.Response:
        run = next(iter(self._runs.values()))
        return responses.RedirectResponse(run.address(run.start()), 303)

    def _grid(self, request: requests.Request, run: shown_run.ShownRun) -> responses.Response:
        if not request.url.query:
            return responses.RedirectResponse(run.address(run.start()), 303)
        view = views.parse(request.query_params.multi_items(), run.table)
        return self._html("grid.html", run, grid.page(run, view))

    def _image(self, request: requests.Request, run: shown_run.ShownRun) -> responses.Response:
        asked = request.query_params
        record = asked.get("record", "")
        if record and not (record.isascii() and record.isdigit() and len(record) < 19):
            raise views.ViewError("record is no number of a record")
        number = int(record) if record else None
        context = one_image.page(run, asked.get("id", ""), asked.get("shard", ""), number)
        return self._html("image.html", run, context)

    def _pairs(self, request: requests.Request) -> responses.Response:
        def made(request: requests.Request, run: shown_run.ShownRun) -> responses.Response:
            if self._two is None:
                raise LookupError("one run is shown; name two: heatbeam explore BASELINE CANDIDATE")
            asked = self._two.parse(request.query_params.multi_items())
            return self._html("pairs.html", run, self._two.page(asked))

        request.path_params["side"] = next(iter(self._runs))
        return self._page(made)(request)

    def _summary(self, request: requests.Request, run: shown_run.ShownRun) -> responses.Response:
        return self._html("summary.html", run, overview.page(run, request.query_params.get("method", "")))

    def _reviews(self, _: requests.Request, run: shown_run.ShownRun) -> responses.Response:
        return self._html("review.html", run, marking.page(run))

    async def _mark(self, request: requests.Request) -> responses.Response:
        run = self._runs.get(request.path_params["side"])
        form = await marking.form_of(request)
        if run is None or form is None or not self._secrets.made(form.get("form")):
            return responses.JSONResponse({"error": "the page is too old; load it again"}, 403)
        return await concurrency.run_in_threadpool(marking.answer, run, form)

    def _near(self, request: requests.Request, run: shown_run.ShownRun) -> responses.Response:
        place = tables.Place.parse(request.path_params["place"])
        return self._html("near.html", run, neighbours.page(run, place, request.path_params["way"]))

    def _missing(self, _: requests.Request, __: Exception) -> responses.Response:
        return self._message(404, "There is no such page.")

    def _message(self, status: int, text: str, run: shown_run.ShownRun | None = None) -> responses.Response:
        run = run or next(iter(self._runs.values()))
        return self._html("message.html", run, {"message": text}, status)

    def _html(
        self, template: str, run: shown_run.ShownRun, context: Mapping[str, Any], status: int = 200
    ) -> responses.Response:
        about = {
            "run": run,
            "MARKS": marking.KEYS,
            "runs": list(self._runs.values()),
            "form_token": markupsafe.escape(self._secrets.form),
        }
        page = self._templates.get_template(template).render({**about, "link": grid.link, **context})
        return responses.HTMLResponse(harmless.lines(page).encode("utf-8", "replace"), status)

    # Files and pictures.

    def _file(self, request: requests.Request) -> responses.Response:
        found = _FILES.get(request.path_params["name"])
        if found is None:
            return responses.PlainTextResponse("no such file\n", 404)
        package, folder, kind = found
        content = importlib.resources.files(package).joinpath(folder, request.path_params["name"]).read_bytes()
        return responses.Response(content, media_type=kind)

    def _drawing(
        self, request: requests.Request, kind: str, make: Callable[[drawn.Pictures, tables.Place], bytes]
    ) -> responses.Response:
        run = self._runs.get(request.path_params["side"])
        if run is None:
            return responses.PlainTextResponse("no such run\n", 404)
        try:
            content = make(run.pictures, tables.Place.parse(request.path_params["place"]))
        except (LookupError, ValueError):
            return responses.PlainTextResponse("no such picture\n", 404)
        return responses.Response(content, media_type=kind, headers=_FOR_LONG)

    def _picture(self, request: requests.Request) -> responses.Response:
        px = _size(request)
        return self._drawing(request, "image/jpeg", lambda album, place: album.original(place, px))

    def _heat(self, request: requests.Request) -> responses.Response:
        return self._drawing(request, "image/svg+xml", lambda album, place: album.heat(place))

    def _truth(self, request: requests.Request) -> responses.Response:
        return self._drawing(request, "image/svg+xml", lambda album, place: album.truth(place))

    def _print(self, request: requests.Request) -> responses.Response:
        px = _size(request)
        return self._drawing(request, "image/png", lambda album, place: album.printed(place, px))

    def _drawn(self, request: requests.Request) -> responses.Response:
        """A signal as a piece of a page."""

        def made(album: drawn.Pictures, place: tables.Place) -> bytes:
            markup, kind = album.drawn(place)
            return f'<span class="frame signal {kind}">{harmless.lines(markup)}</span>'.encode("utf-8", "replace")

        return self._drawing(request, "text/html", made)


def _size(request: requests.Request) -> int:
    """The nearest of `drawn.SIZES`: a picture has few, whatever is asked for."""
    wanted = int(request.path_params["px"])
    return next((size for size in drawn.SIZES if size >= wanted), drawn.SIZES[-1])
