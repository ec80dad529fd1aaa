//! Bodies that mean harm, sent to every route of every service. Nothing panics, nothing hangs up,
//! nothing is recorded.

use serde_json::Value;

use crate::every_service::{SERVICES, Service, problem};

/// One byte over the longest body that is read.
const TOO_LONG: usize = (64 << 10) + 1;

#[test]
fn no_body_makes_a_service_fail_hang_up_or_record_anything() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        let before = service.recorded();
        for row in service.rows.clone() {
            let (path, good) = (service.path(&row), service.good_body(&row));
            for body in hostile_bodies(good.as_ref().unwrap_or(&Value::Null)) {
                let reply = service.wire.send_json(&row.method, &path, &body);
                let what = format!("{} {path}: {} {:.200}", row.method, reply.status, printable(&body));
                match (&good, reply.status) {
                    (Some(_), 400..500) => drop(problem(&reply)),
                    // Where no body is expected it is as if there was none, as long as it is not too long.
                    (None, 200..500) => {}
                    (Some(_) | None, _) => panic!("{what}"),
                }
            }
        }
        assert_eq!(service.recorded(), before);
        service.ends_in_order();
    }
}

#[test]
fn no_hostile_value_of_any_field_does_harm() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        let before = service.recorded();
        for (row, path, body) in service.rows_with_bodies() {
            for field in body.as_object().unwrap().keys() {
                for value in hostile_values() {
                    let mut hostile = body.clone();
                    hostile[field] = "the raw value".into();
                    let hostile = hostile.to_string().replace("\"the raw value\"", &value);
                    let reply = service.wire.send_json(&row.method, &path, &hostile);
                    let problem = problem(&reply);
                    assert!(matches!(reply.status, 400..500), "{field} = {value:.100}: {problem}");
                }
            }
        }
        assert_eq!(service.recorded(), before);
        service.ends_in_order();
    }
}

fn printable(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

/// JSON texts that no field takes, and texts that only look like JSON.
fn hostile_values() -> Vec<String> {
    let nested = |open: &str, close: &str, depth| format!("{}{}", open.repeat(depth), close.repeat(depth));
    let mut values: Vec<String> = [
        "1e400",
        "-1e400",
        "1e-400",
        "1e99999999999",
        "-0.0",
        "12.5",
        "1e3",
        "NaN",
        "Infinity",
        "-Infinity",
        "01",
        "+1",
        "-",
        ".5",
        "1.",
        "0x10",
        "1_000",
        "1,5",
        "undefined",
        "nul",
        "truee",
        "'x'",
        "\"",
        "\"\\",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\x41\"",
        "\"a\nb\"",
        "\"\u{0}\"",
        "[",
        "{",
        "[1,]",
        "[[]]",
        "{\"$ne\":1}",
        "{\"__proto__\":{}}",
        "/**/1",
        "1;",
        "\u{feff}1",
        "true",
        "[null]",
    ]
    .map(str::to_owned)
    .to_vec();
    values.extend([nested("[", "]", 127), nested("[", "]", 10_000), nested("{\"a\":", "}", 5_000)]);
    values.extend(["9".repeat(400), format!("0.{}", "1".repeat(10_000)), format!("1{}", "0".repeat(60_000))]);
    values.push(format!("[{}1]", "1,".repeat(20_000)));
    values
}

/// Bodies that are no JSON object, or not that one; `good` is what the route takes.
fn hostile_bodies(good: &Value) -> Vec<Vec<u8>> {
    let good = good.to_string();
    let whole_texts = [
        " ",
        "\0",
        "null",
        "true",
        "0",
        "-0",
        "1e400",
        "\"text\"",
        "[]",
        "[{}]",
        "{",
        "}",
        "{}}",
        "{\"\":1}",
        "{}x",
        "{{}}",
        "{\"amount\"}",
        "{\"amount\":}",
        "{amount:1}",
        "{'amount':1}",
        "{\"amount\":1,}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "{}\0",
        "a=1&b=2",
        "<a/>",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "0\r\n\r\n",
        "\r\n\r\n",
        "{\"constructor\":{\"prototype\":1}}",
        "{\"\\ud800\":1}",
        "{\"a\\u0000\":1}",
    ];
    let mut bodies: Vec<Vec<u8>> = whole_texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    bodies.extend([b"{\"owner\":\"\xff\"}".to_vec(), b"\xff\xfe{\0}\0".to_vec(), b"\xed\xa0\x80".to_vec()]);
    bodies.push(b"{\"owner\":\"\xc0\xaf\"}".to_vec());
    // What is good, spoilt at its ends.
    bodies.push(format!("\u{feff}{good}").into_bytes());
    bodies.push(format!("[{good}]").into_bytes());
    for end in ["x", "{}", "\0", ",", "//", &good] {
        bodies.push(format!("{good}{end}").into_bytes());
    }
    bodies.push(good.as_bytes()[..good.len() - 1].to_vec());
    bodies.push(good.encode_utf16().flat_map(u16::to_le_bytes).collect());
    // Deep, wide, long.
    bodies.push("[".repeat(TOO_LONG - 1).into_bytes());
    bodies.push(format!("{}1{}", "{\"a\":".repeat(8_000), "}".repeat(8_000)).into_bytes());
    let many: Vec<String> = (0..6_000).map(|n| format!("\"{n}\":1")).collect();
    bodies.push(format!("{{{}}}", many.join(",")).into_bytes());
    bodies.push(format!("{{\"{}\":1}}", "k".repeat(60_000)).into_bytes());
    bodies.push(vec![b' '; TOO_LONG - 1]);
    bodies.push(vec![b' '; TOO_LONG]);
    bodies.push(vec![b'{'; 4 * TOO_LONG]);
    bodies
}
