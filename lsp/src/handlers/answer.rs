//! A request in, its answer out: finds the text that a request is about, and the handler.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lsp_server::ErrorCode;
use lsp_types::{
    CodeActionParams, InlayHintParams, LspRequestMethod, RenameParams, TextDocumentIdentifier,
    TextDocumentPositionParams,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::view::{Error, State, View};
use super::{actions, completion, hints, hover, rename, symbols};
use crate::check::nothing;

type Answer = Result<Json, Error>;

/// Answers a request.
pub(crate) fn answer(state: &State<'_>, method: &str, params: Json) -> Answer {
    let find = || match LspRequestMethod::from(method) {
        LspRequestMethod::TextDocumentHover => at(state, params, |view, at| Ok(hover::hover(view, at))),
        LspRequestMethod::TextDocumentCompletion => {
            at(state, params, |view, at| Ok(completion::completion(view, at)))
        }
        LspRequestMethod::TextDocumentPrepareRename => {
            at(state, params, |view, at| Ok(rename::prepare(view, at)))
        }
        LspRequestMethod::TextDocumentRename => with(state, params, |view, params: RenameParams| {
            let place = params.text_document_position_params.position;
            rename::rename(view, view.places().offset(place), &params.new_name)
        }),
        LspRequestMethod::TextDocumentCodeAction => with(state, params, |view, params: CodeActionParams| {
            let places = view.places();
            let range = places.offset(params.range.start)..places.offset(params.range.end);
            Ok(actions::actions(view, &range, &params.context.only.unwrap_or_default()))
        }),
        LspRequestMethod::TextDocumentInlayHint => with(state, params, |view, params: InlayHintParams| {
            let places = view.places();
            let range = places.offset(params.range.start)..places.offset(params.range.end);
            Ok(hints::hints(view, &range))
        }),
        LspRequestMethod::TextDocumentDocumentSymbol => {
            with(state, params, |view, _: Json| Ok(symbols::symbols(view)))
        }
        _ => Err(Error::new(ErrorCode::MethodNotFound, format!("velo does not know {method}"))),
    };
    // A fault of one answer does not end the server. Nothing is changed here, so nothing is left half done.
    catch_unwind(AssertUnwindSafe(find)).unwrap_or_else(|_| {
        let message = format!("velo failed to answer {method}; please report what you did");
        Err(Error::new(ErrorCode::InternalError, message))
    })
}

/// Answers a request about a place in a text.
fn at<R: Serialize>(
    state: &State<'_>,
    params: Json,
    answer: impl Fn(&View<'_>, usize) -> Result<R, Error>,
) -> Answer {
    with(state, params, |view, params: TextDocumentPositionParams| {
        answer(view, view.places().offset(params.position))
    })
}

/// Answers a request about a text; nothing if it is not open.
fn with<P: DeserializeOwned, R: Serialize>(
    state: &State<'_>,
    params: Json,
    answer: impl Fn(&View<'_>, P) -> Result<R, Error>,
) -> Answer {
    let identifier = serde_json::from_value::<TextDocumentIdentifier>(params["textDocument"].clone());
    let (Ok(identifier), Ok(params)) = (identifier, serde_json::from_value::<P>(params)) else {
        return Err(Error::new(ErrorCode::InvalidParams, "the parameters are not those of the request"));
    };
    let Some(open) = state.open.get(&identifier.uri) else { return Ok(Json::Null) };
    let (document, file) = state.read(open, &open.text);
    let none = nothing(open);
    let view = View {
        state,
        open,
        report: state.reports.get(&open.uri.0).unwrap_or(&none),
        options: &state.host.settings(&open.name).options,
        document: &document,
        file,
    };
    Ok(serde_json::to_value(answer(&view, params)?).unwrap_or_default())
}
