//! The contract for machines: OpenAPI 3.1, written by hand beside the routes, so that it says what a client needs and
//! nothing that a derive would have guessed.

use axum::http::StatusCode;
use axum::response::Response;

use super::auth::Reader;
use super::json;

const DOCUMENT: &str = include_str!("../../openapi.json");

/// The document of this version.
pub(crate) fn document() -> String {
    DOCUMENT.replace("\"VERSION\"", concat!("\"", env!("CARGO_PKG_VERSION"), "\""))
}

/// `GET /v1/openapi.json`. Without the envelope, which no tool would look through.
pub(super) async fn get(_: Reader) -> Response {
    json(StatusCode::OK, document().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed() -> serde_json::Value {
        serde_json::from_str(&document()).expect("JSON")
    }

    #[test]
    fn every_route_of_the_api_is_described_and_no_other() {
        let source = include_str!("mod.rs");
        let routes = source.lines().filter_map(|line| line.split_once(".route(\""));
        let routes = routes.filter_map(|(_, rest)| rest.split_once('"')).map(|(path, _)| path);
        let mut served: Vec<String> = routes
            .filter(|path| ["/v1/", "/audio/", "/.well-known/"].iter().any(|start| path.starts_with(start)))
            .map(|path| path.replace("_id}", "Id}"))
            .map(|path| if path.starts_with("/v1/") { format!("{}{path}", wire::BASE_PATH) } else { path })
            .collect();
        let document = parsed();
        let mut described: Vec<String> =
            document["paths"].as_object().expect("paths").keys().cloned().collect();
        served.sort();
        described.sort();
        assert_eq!(served, described);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn visit(value: &serde_json::Value, document: &serde_json::Value, seen: &mut usize) {
            match value {
                serde_json::Value::Object(fields) => {
                    if let Some(target) = fields.get("$ref").and_then(|target| target.as_str()) {
                        let found = target.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
                        assert!(found.is_some(), "{target} leads nowhere");
                        *seen += 1;
                    }
                    fields.values().for_each(|field| visit(field, document, seen));
                }
                serde_json::Value::Array(items) => items.iter().for_each(|item| visit(item, document, seen)),
                _ => {}
            }
        }
        let (document, mut seen) = (parsed(), 0);
        visit(&document, &document, &mut seen);
        assert!(seen > 0);
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
