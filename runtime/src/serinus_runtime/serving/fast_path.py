"""The fast path: one row, in a body whose layout is known.

Only the values of the row are parsed, and are passed to the model as a list. It decides nothing differently from the
full path: whatever differs from the known layout is left to that, and so are all errors.
"""

from __future__ import annotations

from typing import Any, Callable, Sequence

from serinus_runtime.base.config import Settings
from serinus_runtime.base.errors import ModelFailure, RequestError
from serinus_runtime.base.messages import Response
from serinus_runtime.cache.response_cache import RecordedRows
from serinus_runtime.model.model import Answer
from serinus_runtime.model.predictor import RowPredictor
from serinus_runtime.serving.call import Call, ParsedCall
from serinus_runtime.serving.layouts import Values
from serinus_runtime.serving.recorder import Recorder
from serinus_runtime.values.inputs import TableBound
from serinus_runtime.values.outputs import as_score, encode


class FastPath:
    """The fast path of one model, for all routes whose protocol has layouts."""

    def __init__(self, model: RowPredictor, settings: Settings, recorder: Recorder) -> None:
        self._model = model
        self._predict_row: Callable[[Sequence[Any]], Any] = model.predict_row
        self._columns = model.signature.columns
        self._scored = settings.scored
        self._score_output = settings.score_output
        self._recorder = recorder

    def answer(self, call: Call) -> Response | None:
        """Returns the response. None: the full path must answer."""
        found = _found(call)
        if found is None:
            return None
        cache, row = call.cache, found.row
        key = None if cache is None else cache.row_key(row)
        entry = None if cache is None or key is None else cache.answer(key)
        if entry is not None:
            values = entry.value.outputs[0].data
        else:
            try:
                result = self._predict_row(row).tolist()
            except (RequestError, ModelFailure):
                return None
            # One row: [score] or [[.., score]].
            values = result[0] if type(result[0]) is list else result
        layout, inputs = found.layout, b"[%b]" % found.text
        scores = [as_score(values[-1])] if self._scored else []
        response = Response(200, b"%b%b%b" % (layout.before, encode(values), layout.after), call.head)
        self._recorder.keep(call, 200, 1, columns=layout.names, inputs=inputs, scores=scores, cached=entry is not None)
        if cache is not None and key is not None:
            made_from = entry or cache.keep_answer(key, self._answer(result, values), scores)
            rows = RecordedRows(layout.names, inputs, scores)
            cache.keep_response(call.body_key, made_from, response, call.head, rows)
        return response

    def _answer(self, result: Any, values: list[Any]) -> Answer:
        """Returns the answer as the full path would, whose outputs are known from the warm-up."""
        output = self._model.seen[0]
        return Answer(result, [output._replace(shape=[1, *output.shape[1:]], data=values)])

    def learn(self, parsed: ParsedCall, answer: Answer, response: Response) -> None:
        """Learns the layout of a request, if the answer to another row can be derived from this one's."""
        call, asked, bound = parsed.call, parsed.asked, parsed.bound
        request, route = call.request, call.route
        if len(bound.rows) != 1 or not _plain_json(request.headers):
            return
        whole = isinstance(bound, TableBound) and bound.frames.columns == self._columns
        named = self._score_output in (None, answer.outputs[0].name)
        if route.around is None or route.layouts is None or asked.params or not (whole and named):
            return
        output = answer.outputs[0]
        around = route.around(output, asked) if len(answer.outputs) == 1 else None
        if around is not None and around[0] + encode(output.data) + around[1] == response.body:
            route.layouts.learn(request.body, asked, bound.rows[0], around)


def _found(call: Call) -> Values | None:
    """Returns the row of the request. None: its layout is unknown, or its caller has given up."""
    layouts = call.route.layouts
    if layouts is None or not _plain_json(call.request.headers):
        return None
    found = layouts.find(call.request.body)
    return None if found is None or call.late(call.now) else found


def _plain_json(headers: dict[bytes, bytes]) -> bool:
    """Whether no header says that the body is something else than JSON."""
    return (
        headers.get(b"content-type") == b"application/json"
        and b"content-encoding" not in headers
        and b"inference-header-content-length" not in headers
    )
