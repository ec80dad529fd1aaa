//! The words of a command, and as much of curl as the documents use.

/// A request, as curl would send it.
#[derive(Default)]
pub(super) struct Curl {
    pub(super) method: String,
    pub(super) port: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<String>,
    pub(super) shows_head: bool,
}

impl Curl {
    pub(super) fn parse(command: &str) -> Self {
        let mut words = words(command).into_iter();
        assert_eq!(words.next().as_deref(), Some("curl"), "cannot run {command}");
        let mut curl = Self::default();
        let mut method = None;
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} has no value in {command}"));
            match word.as_str() {
                "-s" => {}
                "-i" => curl.shows_head = true,
                "-X" => method = Some(value()),
                "-H" => {
                    let header = value();
                    let (name, value) = header.split_once(": ").expect("a header has a name");
                    curl.headers.push((name.to_owned(), value.to_owned()));
                }
                "--json" => {
                    curl.body = Some(value());
                    curl.headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
                    curl.headers.push(("Accept".to_owned(), "application/json".to_owned()));
                }
                url => {
                    let rest = url.strip_prefix("http://127.0.0.1:").unwrap_or_else(|| {
                        panic!("neither a flag that this test knows nor a URL: {url} in {command}")
                    });
                    let path = rest.find('/').expect("a URL has a path");
                    (curl.port, curl.path) = (rest[..path].to_owned(), rest[path..].to_owned());
                }
            }
        }
        let default = if curl.body.is_some() { "POST" } else { "GET" };
        curl.method = method.unwrap_or_else(|| default.to_owned());
        curl
    }
}

/// Returns the words of a command, without their single quotes. A shell would expand any other sign, so a
/// command with such a sign is refused.
pub(super) fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (index, part) in command.split('\'').enumerate() {
        if index % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
            continue;
        }
        assert!(!part.contains(['"', '\\', '$', '&', '|', ';', '*', '?']), "quote it: {command}");
        let mut rest = part.split(' ');
        words.last_mut().unwrap().push_str(rest.next().unwrap());
        words.extend(rest.map(str::to_owned));
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn a_command_that_cannot_be_run_is_refused() {
    for command in
        ["curl -k http://127.0.0.1:7001/", "wget http://127.0.0.1:7001/", "curl \"http://x\"", "ls"]
    {
        assert!(std::panic::catch_unwind(|| Curl::parse(command)).is_err(), "{command}");
    }
}
