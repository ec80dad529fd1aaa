//! The three services together: as three processes in any order, and as one.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{Binary, Client, Directory, Launch, Process, System, free_address, wait_for};

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
        // The sides must know the registry before it is there.
        let free = free_address();
        let registry = format!("http://{free}");
        let start = |binary| match binary {
            Registry => Launch::of(Registry, &directory).flag("--listen", &free).start(),
            // With the intervals that users have.
            Write | Read => Launch::on_free_port(binary, &directory).flag("--registry", &registry).start(),
            Binary::Tally => unreachable!("none of the three"),
        };
        let mut last_start = Instant::now();
        let processes = order.map(|binary| {
            last_start = Instant::now();
            (binary, start(binary))
        });
        let client = |wanted| {
            let found = processes.iter().find(|(binary, _)| *binary == wanted);
            found.map(|(_, process)| process.client()).unwrap()
        };
        let account = a_command_and_its_query(&client(Write), &client(Read));
        assert_eq!(account["balance"], 1250, "{order:?}");
        // The promise is two seconds; a loaded machine may take longer, so this one is only told.
        eprintln!("{order:?}: command and query served {:?} after the last start", last_start.elapsed());
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

/// So that it can be copied, by anybody and without knowing of write-ahead logs.
#[test]
fn after_an_orderly_stop_a_database_is_one_file() {
    let System { read, write, registry, directory } = System::start();
    let account = a_command_and_its_query(&write.client(), &read.client());
    let queries: [Client; 4] = [(); 4].map(|()| read.client());
    std::thread::scope(|scope| {
        for client in &queries {
            let account = format!("/accounts/{}", account["account_id"].as_str().unwrap());
            scope.spawn(move || (0..50).for_each(|_| drop(client.get(&account).expect(200))));
        }
    });
    for process in [read, write, registry] {
        assert_eq!(process.stop().status.code(), Some(0));
    }
    let files = std::fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["read_db.sqlite3", "write_db.sqlite3", "write_db.sqlite3-lock"]);
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
fn commands_and_queries_go_on_without_the_registry_and_fill_it_again_when_it_is_back() {
    let directory = Directory::fresh();
    let address = free_address();
    let launch = Launch::of(Binary::Registry, &directory).flag("--listen", &address);
    let registry = launch.start();
    let write = System::write(&directory, &registry.url()).start();
    let read = System::read(&directory, &registry.url()).start();
    a_command_and_its_query(&write.client(), &read.client());
    let before = wait_for_both(&registry);
    registry.kill();
    for _ in 0..3 {
        assert_eq!(a_command_and_its_query(&write.client(), &read.client())["balance"], 1250);
    }
    let begun = Instant::now();
    let registry = launch.start();
    assert_eq!(wait_for_both(&registry), before, "the same instances, not new ones");
    eprintln!("full again after {:?}, with heartbeats of 0.2 s", begun.elapsed());
}

/// The ids of the write and the read instance, when the registry knows one of each.
fn wait_for_both(registry: &Process) -> [String; 2] {
    let id = |name: &str| {
        let answer = registry.client().get(&format!("/services/{name}")).expect(200).json();
        let instances = answer["instances"].as_array()?;
        (instances.len() == 1).then(|| instances[0]["instance_id"].as_str().unwrap().to_owned())
    };
    wait_for("both sides are registered", || Some([id("write")?, id("read")?]))
}

#[test]
fn each_process_ends_in_order_on_sigterm_and_is_gone_from_the_registry_at_once() {
    let directory = Directory::fresh();
    // An hour: who is gone before has deregistered.
    let registry = Launch::on_free_port(Binary::Registry, &directory).flag("--ttl", "3600").start();
    let write = System::write(&directory, &registry.url()).start();
    let read = System::read(&directory, &registry.url()).start();
    a_command_and_its_query(&write.client(), &read.client());
    wait_for_both(&registry);
    let known = || registry.client().get("/services").expect(200).json()["services"].clone();
    let ended = [read.stop(), write.stop()];
    assert_eq!(known(), json!({}));
    for ended in ended.into_iter().chain([registry.stop()]) {
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(0), 1), "{ended:?}");
    }
}

#[test]
fn a_stop_keeps_every_promise_that_was_made_before_it() {
    let System { read, write, registry, directory } = System::start();
    let client = write.client();
    let acknowledged = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8).map(|_| scope.spawn(|| open_until_refused(&client))).collect();
        wait_for("some are open", || {
            let head = client.get("/events?limit=1").json()["head"].as_u64().unwrap();
            (head > 20).then_some(())
        });
        assert_eq!(write.stop().status.code(), Some(0));
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(!acknowledged.is_empty());
    let write = System::write(&directory, &registry.url()).start();
    for id in &acknowledged {
        assert_eq!(write.client().get(&format!("/streams/{id}/events")).status, 200);
    }
    assert_eq!(a_command_and_its_query(&write.client(), &read.client())["balance"], 1250);
}

/// Opens accounts, one after another, until the service takes no more. Returns those it has promised.
fn open_until_refused(client: &Client) -> Vec<String> {
    let open = || client.try_post("/accounts", &[], &json!({"owner": "Ada"})).ok();
    std::iter::from_fn(|| open().filter(|reply| reply.status == 201))
        .map(|reply| reply.json()["stream_id"].as_str().unwrap().to_owned())
        .collect()
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
