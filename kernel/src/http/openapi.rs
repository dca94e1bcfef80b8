//! The OpenAPI document of an API. It is made from the list of routes, so it cannot omit one.
//!
//! Each handler describes what is its own (`#[utoipa::path]`). This module adds what all operations share: the token,
//! the request id, and the codes that any of them may answer. A handler names the codes of an error status, `(status =
//! 409, description = "tenant_exists, domain_taken")`, and gets the shared error body with exactly those codes.

use super::{Code, Language};
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// What all operations of an API have in common.
pub struct Api {
    /// The title of the document.
    pub title: &'static str,
    /// The description, in Markdown.
    pub about: &'static str,
    /// The security schemes by name. Each of them alone is enough.
    pub security: fn() -> Value,
    /// The headers that operations with this method understand.
    pub headers: fn(method: &str) -> Vec<Value>,
    /// The codes that every operation with this method may answer, in addition to those that follow from its parts.
    pub codes: fn(method: &str) -> &'static [Code],
}

impl Api {
    /// The whole document, made from the descriptions of the routes.
    pub fn document(&self, routes: utoipa::openapi::OpenApi) -> Value {
        let mut document = serde_json::to_value(routes).expect("a document is made of maps with text keys");
        document["openapi"] = json!("3.1.0");
        document["info"] =
            json!({"title": self.title, "description": self.about, "version": env!("CARGO_PKG_VERSION")});
        document["components"]["schemas"]["Error"] = error_schema();
        let schemes = (self.security)();
        document["security"] = schemes.as_object().into_iter().flatten().map(|(name, _)| json!({name: []})).collect();
        document["components"]["securitySchemes"] = schemes;
        let mut shared = Map::new();
        for (_, methods) in document["paths"].as_object_mut().into_iter().flatten() {
            for (method, operation) in methods.as_object_mut().into_iter().flatten() {
                self.complete(method, operation, &mut shared);
            }
        }
        document["components"]["responses"] = shared.into();
        document
    }

    fn complete(&self, method: &str, operation: &mut Value, shared: &mut Map<String, Value>) {
        let open = operation.get("security").is_some();
        // A function's name is unique in its file only.
        if let (Some(tag), Some(name)) = (operation["tags"][0].as_str(), operation["operationId"].as_str()) {
            operation["operationId"] = format!("{tag}_{name}").into();
        }
        if !open {
            let own = operation["parameters"].as_array().cloned().unwrap_or_default();
            operation["parameters"] = own.into_iter().chain((self.headers)(method)).collect();
        }
        let mut errors: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut add = |code: Code| {
            errors.entry(code.status().as_str().to_owned()).or_default().insert(code.name());
        };
        add(Code::Internal);
        if !open {
            (self.codes)(method).iter().copied().for_each(&mut add);
        }
        let has = |place: &str| {
            operation["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["in"] == place))
        };
        if operation.get("requestBody").is_some() {
            [Code::Invalid("body"), Code::RequestTimeout, Code::TooLarge, Code::UnsupportedMediaType]
                .into_iter()
                .for_each(&mut add);
        }
        if has("query") {
            add(Code::Invalid("query"));
        }
        if has("path") {
            add(Code::BadRequest);
        }
        let responses = operation["responses"].as_object_mut().expect("an operation has responses");
        for (status, response) in responses.iter_mut() {
            if status.as_str() >= "400" && response.get("content").is_none() {
                let named = response["description"].as_str().unwrap_or_default();
                errors.entry(status.clone()).or_default().extend(named.split(", ").map(str::to_owned));
            }
        }
        for (status, codes) in errors {
            if responses.get(&status).is_none_or(|response| response.get("content").is_none()) {
                let name = format!("{status}.{}", codes.iter().cloned().collect::<Vec<_>>().join("."));
                responses.insert(status.clone(), json!({"$ref": format!("#/components/responses/{name}")}));
                shared.entry(name).or_insert_with(|| error_response(&status, &codes));
            }
        }
        for (_, response) in responses.iter_mut().filter(|(_, response)| response.get("$ref").is_none()) {
            response["headers"]["X-Request-Id"] = request_id_header();
        }
    }
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "description": "Every error of the API. Some codes have further members.",
        "required": ["error", "message", "request_id"],
        "properties": {
            "error": {"type": "string", "description": "The error code, for programs."},
            "message": {"type": "string", "description": "The message for the user, in the language of Accept-Language."},
            "request_id": {"type": "string", "description": "The id of the request, which is in the logs."},
            "field": {"type": "string", "description": "The wrong or unavailable field, by the client's name."},
            "detail": {"type": "string", "description": "What is wrong with the field."},
        },
    })
}

fn error_response(status: &str, codes: &BTreeSet<String>) -> Value {
    let mut sentences: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for name in codes {
        let code = Code::ALL.iter().find(|code| code.name() == *name).copied().unwrap_or(Code::Invalid(""));
        sentences.entry(code.message(Language::English)).or_default().push(format!("`{name}`"));
    }
    let sentences: Vec<_> =
        sentences.into_iter().map(|(message, names)| format!("{}: {message}", names.join(", "))).collect();
    let mut headers = Map::from_iter([("X-Request-Id".to_owned(), request_id_header())]);
    if matches!(status, "429" | "503") {
        headers.insert("Retry-After".into(), json!({"description": "Seconds.", "schema": {"type": "integer"}}));
    }
    if status == "401" {
        headers.insert("WWW-Authenticate".into(), json!({"schema": {"type": "string"}}));
    }
    let schema = json!({"allOf": [
        {"$ref": "#/components/schemas/Error"}, {"type": "object", "properties": {"error": {"enum": codes}}}]});
    let content = json!({"application/json": {"schema": schema}});
    json!({"description": sentences.join("; "), "headers": headers, "content": content})
}

fn request_id_header() -> Value {
    json!({"description": "The id of the request: the caller's own, or a new one.", "schema": {"type": "string"}})
}

/// The routes `/openapi.json`, and `/docs`: a page to read the document and try the API. It loads nothing from other
/// servers.
pub fn pages(document: Value) -> Router {
    const POLICY: HeaderValue = HeaderValue::from_static(
        "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    let page = SwaggerUi::new("/docs")
        .external_url_unchecked("/openapi.json", document)
        .config(Config::default().try_it_out_enabled(true).display_request_duration(true).validator_url("none"));
    Router::from(page).layer(from_fn(|request, next: Next| async {
        let mut response = next.run(request).await;
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }))
}

/// The document as it is printed and committed.
pub fn text(document: &Value) -> String {
    format!("{document:#}\n")
}

/// Why a document may not be committed: its `faults`, and that it differs from the `committed` one, which the command
/// of `service` prints. Empty if it may.
pub fn unfit(document: &Value, committed: &str, service: &str) -> Vec<String> {
    let mut all = faults(document);
    if text(document) != committed {
        all.push(format!("the committed document is old: {service} openapi > deploy/openapi/{service}.json"));
    }
    all
}

/// What is wrong with a document: unknown codes or codes with another status, dangling references, operations without a
/// summary or with the name of another one.
fn faults(document: &Value) -> Vec<String> {
    let (mut faults, mut names) = (Vec::new(), BTreeSet::new());
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let mut fault = |what: String| faults.push(format!("{method} {path}: {what}"));
            if operation["summary"].as_str().unwrap_or_default().is_empty() {
                fault("has no summary".into());
            }
            if !names.insert(operation["operationId"].as_str().unwrap_or_default()) {
                fault("has the name of another operation".into());
            }
        }
    }
    for name in document["components"]["responses"].as_object().into_iter().flatten().map(|(name, _)| name) {
        let (status, codes) = name.split_once('.').unwrap_or_default();
        for code in codes.split('.') {
            let known = Code::ALL.iter().any(|known| known.name() == code && known.status().as_str() == status);
            let invalid = status == "422" && code.starts_with("invalid_");
            if !(known || invalid) {
                faults.push(format!("{status} cannot have the code {code}"));
            }
        }
    }
    let text = document.to_string();
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap_or_default();
        if document.pointer(pointer).is_none() {
            faults.push(format!("the document refers to {pointer}, which does not exist"));
        }
    }
    faults
}
