//! A rebuild on a disk that is nearly full: what can be made again yields to what answers.

use serde_json::json;

use super::is_possible;
use crate::support::{Client, Directory, System, wait_until};

/// Runs in a file system of that many MiB, mounted over its directory for it alone.
fn disk_of(mib: u32) -> [String; 5] {
    let mount = format!("mount -t tmpfs -o size={mib}m tmpfs . && cd \"$PWD\" && exec \"$0\" \"$@\"");
    ["unshare", "--mount", "sh", "-c", &mount].map(str::to_owned)
}

/// Statement lines of half a KiB: 4 MiB of rows.
const DEPOSITS: u64 = 7_000;

fn fill(write: &Client) -> String {
    let opened = write.post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
    let account = format!("/accounts/{}", opened["stream_id"].as_str().unwrap());
    let deposit = json!({"amount": 1, "description": "x".repeat(490)});
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                (0..DEPOSITS / 8)
                    .for_each(|_| drop(write.post(&format!("{account}/deposit"), &deposit).expect(200)));
            });
        }
    });
    account
}

#[test]
fn a_rebuild_that_fills_the_disk_is_given_up_and_the_rows_that_answer_go_on() {
    if !is_possible(&disk_of(1).each_ref().map(String::as_str)) {
        return;
    }
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let write = System::write(&directory, &registry.url()).start();
    let account = fill(&write.client());
    let (mut given_up, mut balance) = (0, DEPOSITS);
    // From one on which it cannot begin, through those on which it goes wrong half way, to one that holds it.
    let sizes = [10, 14, 16, 19, 22, 24, 26, 28, 30, 34];
    for mib in sizes {
        let small = Directory::fresh();
        let command = disk_of(mib);
        let command = command.each_ref().map(String::as_str);
        let read = System::read(&small, &registry.url()).under(&command).start();
        let client = read.client();
        wait_until("the read side has caught up", || client.get("/ready").status == 200);
        client.post("/projections/transactions/rebuild", &json!({})).expect(202);
        let mut shown = json!(null);
        wait_until("the rebuild has ended", || {
            shown = client.get("/projections").expect(200).json()["projections"][1].clone();
            shown.get("rebuild").is_none()
        });
        assert_eq!(shown["name"], "transactions");
        if let Some(error) = shown["error"].as_str() {
            assert!(error.contains("given up"), "{shown}");
            given_up += 1;
            read.wait_for_log("the rebuild of projection transactions was given up");
        }
        for _ in 0..20 {
            let deposit =
                write.client().post(&format!("{account}/deposit"), &json!({"amount": 1})).expect(200);
            balance += 1;
            let position = &deposit.json()["position"];
            let waiting = format!("min_position={position}&wait=30");
            let shown = client.get(&format!("{account}?{waiting}"));
            assert_eq!(shown.status, 200, "on {mib} MiB: {shown:?}");
            assert_eq!(shown.json()["balance"], balance);
            client.get(&format!("{account}/transactions?limit=1&{waiting}")).expect(200);
        }
        client.get("/health").expect(200);
    }
    assert!((1..sizes.len()).contains(&given_up), "{given_up} of {} rebuilds were given up", sizes.len());
}
