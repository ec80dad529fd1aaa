//! An OpenAPI document as the tests walk it: operations, the requests that their examples make, and
//! what they may be answered.

use serde_json::Value;

use super::schema::{resolved, violations};
use crate::support::{Client, Reply};

/// Headers that HTTP itself brings to any answer, and that no operation lists.
const OF_HTTP: [&str; 6] = ["content-type", "content-length", "date", "connection", "cache-control", "vary"];

/// A service's document.
#[derive(Debug)]
pub(crate) struct Document(pub(crate) Value);

/// One operation of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation<'a> {
    document: &'a Value,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) content: &'a Value,
}

/// One request, made from examples.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Document {
    pub(crate) fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let paths = self.0["paths"].as_object().unwrap();
        paths.iter().flat_map(move |(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, content)| Operation {
                document: &self.0,
                method,
                path,
                content,
            })
        })
    }

    pub(crate) fn operation(&self, id: &str) -> Operation<'_> {
        self.operations()
            .find(|operation| operation.id() == id)
            .unwrap_or_else(|| panic!("no operation {id}"))
    }
}

impl<'a> Operation<'a> {
    pub(crate) fn id(&self) -> &'a str {
        self.content["operationId"].as_str().unwrap()
    }

    /// The documented statuses from 200 to 399.
    pub(crate) fn successes(&self) -> impl Iterator<Item = u16> + use<'a> {
        let statuses = self.content["responses"].as_object().unwrap().keys();
        statuses.map(|status| status.parse().unwrap()).filter(|status| *status < 400)
    }

    fn parameters(&self) -> Vec<&'a Value> {
        let listed = self.content["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        listed.iter().map(|parameter| resolved(self.document, parameter)).collect()
    }

    /// The names of the query parameters.
    pub(crate) fn query(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let parameters = self.parameters().into_iter().filter(|parameter| parameter["in"] == "query");
        parameters.map(|parameter| parameter["name"].as_str().unwrap())
    }

    /// The names of what may be left out.
    pub(crate) fn options(&self) -> Vec<&'a str> {
        let parameters = self.parameters();
        let optional = parameters.into_iter().filter(|parameter| parameter["required"] != true);
        optional.map(|parameter| parameter["name"].as_str().unwrap()).collect()
    }

    /// The media type and example of its request body.
    fn request_body(&self) -> Option<(&'a str, &'a Value)> {
        let (media, content) = self.content["requestBody"]["content"].as_object()?.iter().next().unwrap();
        Some((media, content))
    }

    /// The request of its examples, with those of its optional parameters that `with` names.
    pub(crate) fn call(&self, with: &[&str]) -> Call {
        let mut call = Call { method: self.method.to_uppercase(), ..Call::default() };
        let (mut path, mut query) = (self.path.to_owned(), Vec::new());
        for parameter in self.parameters() {
            let name = parameter["name"].as_str().unwrap();
            let example = shown(&parameter["example"]);
            match parameter["in"].as_str().unwrap() {
                "path" => path = path.replace(&format!("{{{name}}}"), &example),
                _ if !with.contains(&name) => {}
                "query" => query.push(format!("{name}={}", example.replace(' ', "%20"))),
                "header" => call.headers.push((name.to_owned(), example)),
                place => panic!("{name} is in {place}"),
            }
        }
        if let Some((media, content)) = self.request_body() {
            call.headers.push(("Content-Type".into(), media.into()));
            call.body = Some(content["example"].to_string().into_bytes());
        }
        call.target = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
        call
    }

    /// Fails unless the reply is one that the document tells of, in status, headers and body.
    pub(crate) fn assert_tells_of(&self, call: &Call, reply: &Reply) {
        let place = format!("{} {} -> {}", call.method, call.target, reply.status);
        let response = &self.content["responses"][reply.status.to_string()];
        let response = resolved(self.document, response);
        assert!(!response.is_null(), "{place} is not documented: {}", String::from_utf8_lossy(&reply.body));
        self.assert_headers(&place, response, reply);
        let Some(media) = reply.header("Content-Type") else {
            assert!(response["content"].is_null() && reply.body.is_empty(), "{place} should have content");
            return;
        };
        let media = media.split(';').next().unwrap();
        let schema = &response["content"][media]["schema"];
        assert!(!schema.is_null(), "{place}: {media} is not documented");
        let body = if media.ends_with("json") { reply.json() } else { reply.text().into() };
        assert_eq!(violations(self.document, schema, &body), [""; 0], "{place}");
    }

    fn assert_headers(&self, place: &str, response: &Value, reply: &Reply) {
        let none = serde_json::Map::new();
        let documented = response["headers"].as_object().unwrap_or(&none);
        for (name, header) in documented {
            let header = resolved(self.document, header);
            let Some(text) = reply.header(name) else {
                assert!(header["required"] != true, "{place}: {name} is missing");
                continue;
            };
            // A header is text; a number in it is meant as one.
            let number = text.parse::<u64>().map(Value::from);
            let found = number
                .iter()
                .chain([&Value::from(text)])
                .any(|value| violations(self.document, &header["schema"], value).is_empty());
            assert!(found, "{place}: {name}: {text} is not as documented");
        }
        for name in reply.headers.keys().map(|name| name.as_str()) {
            let known = documented.keys().any(|other| other.eq_ignore_ascii_case(name));
            assert!(known || OF_HTTP.contains(&name), "{place}: {name} is not documented");
        }
    }

    /// Every example of the operation that breaks the schema beside it.
    pub(crate) fn broken_examples(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut check = |of: &Value, schema: &Value| {
            let named = of["examples"].as_object().into_iter().flatten().map(|(_, named)| &named["value"]);
            for example in of.get("example").into_iter().chain(named) {
                broken.extend(violations(self.document, schema, example));
            }
        };
        self.parameters().into_iter().for_each(|parameter| check(parameter, &parameter["schema"]));
        self.request_body().into_iter().for_each(|(_, body)| check(body, &body["schema"]));
        for response in self.content["responses"].as_object().unwrap().values() {
            let response = resolved(self.document, response);
            let contents = response["content"].as_object().into_iter().flatten();
            contents.for_each(|(_, content)| check(content, &content["schema"]));
            for (_, header) in response["headers"].as_object().into_iter().flatten() {
                let header = resolved(self.document, header);
                check(header, &header["schema"]);
            }
        }
        broken
    }
}

fn shown(example: &Value) -> String {
    example.as_str().map_or_else(|| example.to_string(), str::to_owned)
}

impl Call {
    pub(crate) fn send(&self, client: &Client) -> Reply {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        client.try_send(&self.method, &self.target, &headers, self.body.as_deref()).unwrap()
    }

    pub(crate) fn body(mut self, json: &str) -> Self {
        self.body = Some(json.as_bytes().to_vec());
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    pub(crate) fn query(mut self, query: &str) -> Self {
        self.target = format!("{}?{query}", self.target);
        self
    }

    pub(crate) fn id(mut self, from: &str, to: &str) -> Self {
        assert!(self.target.contains(from));
        self.target = self.target.replace(from, to);
        self
    }
}
