//! A rebuild on a disk that is nearly full: what can be made again yields to what answers.

use serde_json::json;

use super::is_possible;
use crate::support::{Client, Directory, System, wait_until};

/// A file system of 8 MiB.
const SMALL_DISK: [&str; 5] = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    "mount -t tmpfs -o size=8m tmpfs . && cd \"$PWD\" && exec \"$0\" \"$@\"",
];
/// Statement lines of half a KiB: more than half of the disk.
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
    if !is_possible(&SMALL_DISK) {
        return;
    }
    let (directory, small) = (Directory::fresh(), Directory::fresh());
    let registry = System::registry(&directory).start();
    let write = System::write(&directory, &registry.url()).start();
    let account = fill(&write.client());
    let head = 1 + DEPOSITS;
    let read = System::read(&small, &registry.url()).under(&SMALL_DISK).start();
    let client = read.client();
    wait_until("the read side has caught up", || {
        client.get(&format!("/position?min_position={head}&wait=30")).status == 200
    });
    for round in 1..4 {
        client.post("/projections/transactions/rebuild", &json!({})).expect(202);
        wait_until("the rebuild is given up", || {
            let shown = client.get("/projections").expect(200).json()["projections"][1].clone();
            assert_eq!(shown["name"], "transactions");
            shown.get("rebuild").is_none()
                && shown["error"].as_str().is_some_and(|error| error.contains("given up"))
        });
        let deposit = write.client().post(&format!("{account}/deposit"), &json!({"amount": 1})).expect(200);
        let position = &deposit.json()["position"];
        let query = format!("{account}?min_position={position}&wait=30");
        assert_eq!(client.get(&query).expect(200).json()["balance"], DEPOSITS + round);
        client.get(&format!("{account}/transactions?limit=1&min_position={position}&wait=30")).expect(200);
        client.get("/health").expect(200);
    }
    read.wait_for_log("the rebuild of projection transactions was given up");
}
