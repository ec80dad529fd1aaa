//! The routes of an operator: what they show, and the pause.

use super::*;

#[test]
fn projections_show_that_they_are_live() {
    let bank = Bank::with_ada_and_bob();
    bank.until("all are live", |projections| {
        projections.as_array().unwrap().iter().all(|projection| {
            projection["state"] == "live" && projection["position"] == 6 && projection["lag_events"] == 0
        })
    });
    assert_eq!(bank.json("/position"), json!({"position": 6}));
    let health = bank.json("/health");
    assert_eq!((&health["status"], &health["ready"]), (&json!("ok"), &json!(true)));
    assert_eq!(health["write_side"]["state"], "not-met");
}

#[test]
fn a_pause_holds_the_rows_and_says_so_wherever_someone_may_ask() {
    let bank = Bank::with_ada_and_bob();
    let order = |name: &str| bank.router.handle(&Request::post(&format!("/projections/{name}"), "")).status;
    assert_eq!((order("pause"), order("pause")), (204, 204));
    bank.feed.append(ADA, "MoneyDeposited", &moved(1));
    bank.until("the head is learnt", |projections| {
        projections.as_array().unwrap().iter().all(|projection| {
            projection["state"] == "paused" && projection["head"] == 7 && projection["lag_events"] == 1
        })
    });
    let response = bank.get("/position?min_position=7&wait=0.01");
    let detail = String::from_utf8(response.body).unwrap();
    assert!(response.status == 503 && detail.contains("following is paused"), "{detail}");
    assert_eq!(bank.account(ADA)["balance"], 500, "queries go on");
    let health = bank.json("/health");
    assert_eq!((&health["paused"], &health["projections"]["summary"]), (&json!(true), &json!("paused")));
    // One event is within the lag of a ready service.
    assert_eq!(bank.get("/ready").status, 200);
    assert_eq!((order("resume"), order("resume")), (204, 204));
    bank.wait_for(7);
    assert_eq!(
        (bank.account(ADA)["balance"].clone(), bank.json("/health")["paused"].clone()),
        (json!(501), json!(false))
    );
}

#[test]
fn only_pages_of_this_machine_may_pause_whatever_origins_are_allowed() {
    let Bank { router, path, .. } = Bank::with_ada_and_bob();
    let router = router.allow_origins(vec!["*".to_owned()]);
    let order = |name: &str, origin: &str| {
        let request = Request::post(&format!("/projections/{name}"), "").with_header("Origin", origin);
        router.handle(&request.with_header("Host", "10.0.0.1")).status
    };
    for name in ["pause", "resume"] {
        for foreign in ["https://bank.example", "http://10.0.0.1", "null"] {
            assert_eq!(order(name, foreign), 403, "{foreign}");
        }
        assert_eq!(order(name, "http://localhost:7000"), 204);
    }
    drop(path);
}

#[test]
fn poison_stalls_its_projections_and_shows_while_the_rest_goes_on() {
    let bank = Bank::with_ada_and_bob();
    // More than Ada has. The summary adds up currencies, not accounts.
    bank.feed.append(ADA, "MoneyWithdrawn", &moved(100_000));
    let last = bank.feed.append(BOB, "MoneyDeposited", &moved(1));
    let watch = bank.router.state().projector.watch("summary").unwrap();
    assert!(watch.wait_for(last, PATIENCE) >= last);
    bank.until("the others stall", |projections| {
        projections[0]["state"] == "stalled" && projections[1]["state"] == "stalled"
    });
    let shown = bank.json("/projections");
    assert!(shown["projections"][0]["error"].as_str().unwrap().contains("event 7"), "{shown}");
    assert_eq!(shown["projections"][2]["state"], "live");
    assert_eq!(bank.account(ADA)["balance"], 500, "the rows still answer");
    let (status, slug, _) = bank.problem("/health");
    assert_eq!((status, slug.as_str()), (503, "unhealthy"));
    assert_eq!(bank.json("/position"), json!({"position": 6}));
}
