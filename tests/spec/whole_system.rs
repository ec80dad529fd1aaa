//! The three services together: as three processes in any order, and as one.

use serde_json::{Value, json};

use crate::support::{Binary, Client, Directory, Launch, Process, System, wait_for};

/// Opens an account with money in it and waits until the read side shows it.
fn a_command_and_its_query(commands: &Client, queries: &Client) -> Value {
    let receipt = commands.post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
    let account = format!("/accounts/{}", receipt["stream_id"].as_str().unwrap());
    let receipt = commands.post(&format!("{account}/deposit"), &json!({"amount": 1250})).expect(200).json();
    let query = format!("{account}?min_position={}&wait=30", receipt["position"]);
    queries.get(&query).expect(200).json()
}

#[test]
fn three_processes_find_each_other_in_whatever_order_they_start() {
    use Binary::{Read, Registry, Write};
    let orders = [
        [Registry, Write, Read],
        [Registry, Read, Write],
        [Write, Registry, Read],
        [Write, Read, Registry],
        [Read, Registry, Write],
        [Read, Write, Registry],
    ];
    for order in orders {
        let directory = Directory::fresh();
        // A port that is free again: the sides must know the registry before it is there.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let registry = format!("http://{free}");
        let start = |binary| match binary {
            Registry => Launch::of(Registry, &directory).flag("--listen", &free).start(),
            Write => System::write(&directory, &registry).start(),
            Read => System::read(&directory, &registry).start(),
            Binary::Tally => unreachable!("none of the three"),
        };
        let processes = order.map(|binary| (binary, start(binary)));
        let client = |wanted| {
            let found = processes.iter().find(|(binary, _)| *binary == wanted);
            found.map(|(_, process)| process.client()).unwrap()
        };
        let account = a_command_and_its_query(&client(Write), &client(Read));
        assert_eq!(account["balance"], 1250, "{order:?}");
    }
}

#[test]
fn what_was_acknowledged_is_there_after_every_process_was_killed() {
    let system = System::start();
    let before = a_command_and_its_query(&system.commands(), &system.queries());
    let System { read, write, registry, directory } = system;
    [read, write, registry].into_iter().for_each(Process::kill);
    let registry = System::registry(&directory).start();
    let write = System::write(&directory, &registry.url()).start();
    let read = System::read(&directory, &registry.url()).start();
    let account = format!("/accounts/{}", before["account_id"].as_str().unwrap());
    assert_eq!(read.client().get(&account).expect(200).json(), before);
    assert_eq!(a_command_and_its_query(&write.client(), &read.client())["version"], 2);
}

#[test]
fn a_write_side_that_moved_to_another_port_is_followed() {
    let System { read, write, registry, directory } = System::start();
    a_command_and_its_query(&write.client(), &read.client());
    let before = write.address().to_owned();
    // It dies first: a second writer on one file is refused.
    write.kill();
    let write = System::write(&directory, &registry.url()).start();
    assert_ne!(write.address(), before);
    assert_eq!(a_command_and_its_query(&write.client(), &read.client())["balance"], 1250);
}

#[test]
fn all_three_in_one_process_serve_a_command_and_its_query() {
    let directory = Directory::fresh();
    let tally = Launch::on_free_port(Binary::Tally, &directory).flag("--data-dir", "data").start();
    let (commands, queries) = (tally.client_of(Binary::Write), tally.client_of(Binary::Read));
    assert_eq!(a_command_and_its_query(&commands, &queries)["balance"], 1250);
    let registry = tally.client_of(Binary::Registry);
    wait_for("both sides are registered", || {
        let services = registry.get("/services").expect(200).json();
        (services["services"].as_object()?.len() == 2).then_some(())
    });
    assert!(directory.join("data/write_db.sqlite3").is_file());
    assert_eq!(tally.stop().status.code(), Some(0));
}

#[test]
fn the_commands_that_tally_prints_work() {
    let directory = Directory::fresh();
    let tally = Launch::on_free_port(Binary::Tally, &directory).start();
    let (write, read) =
        (tally.address_of(Binary::Write).to_owned(), tally.address_of(Binary::Read).to_owned());
    let (commands, queries) = (tally.client_of(Binary::Write), tally.client_of(Binary::Read));
    let printed = tally.next_lines("  curl http://", 3);
    let quoted =
        |line: &str| line.rsplit('\'').nth(1).map(|json| serde_json::from_str::<Value>(json).unwrap());
    let path = |line: &str, address: &str| {
        let rest = line.split_once(&format!("http://{address}")).unwrap().1;
        rest.split(' ').next().unwrap().to_owned()
    };
    commands.post(&path(&printed[0], &write), &quoted(&printed[0]).unwrap()).expect(201);
    commands.post(&path(&printed[1], &write), &quoted(&printed[1]).unwrap()).expect(200);
    let account = wait_for("the deposit is shown", || {
        let reply = queries.get(&path(&printed[2], &read));
        (reply.status == 200 && reply.json()["version"] == 2).then(|| reply.json())
    });
    assert_eq!((&account["owner"], &account["balance"]), (&json!("Ada"), &json!(1250)));
}
