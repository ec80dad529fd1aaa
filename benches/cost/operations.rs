//! The operations: each prepares what it needs, once, and returns what is to be counted.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tally::account::{Account, AccountCommand, AccountEvent, Movement};
use tally::es::{
    Aggregate, Database, Event, EventLog, EventStore, Executor, Hash, Projector, RecordedEvent,
    SqliteDatabase, chain, decode,
};
use tally::http::{self, LongPolls, Request, Response, Router, serve};
use tally::read_side::{self, ReadSide, projections};
use tally::write_side::{self, WriteSide};

use crate::Result;
use crate::fixture::{ACCOUNTS, DEPOSIT, History, PAGE, Pages, account_id, event_at};

/// A commit under load carries so many.
const BATCH: u64 = 64;
/// Longer than the read side calls a commit young.
const SETTLED: Duration = Duration::from_millis(100);

/// Carries the operation out once.
type Once = Box<dyn FnMut() -> Result<()>>;

/// Something to be counted.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) is: &'static str,
    /// How often it is carried out, or twice as often. So many that what the runs have in common
    /// (threads that wait, an allocation more) is lost in them, so few that a tool that is fifty times
    /// slower than the processor needs a second or two.
    pub(crate) times: u32,
    /// Makes what it needs in that directory, for so many at most.
    pub(crate) prepare: fn(&Path, u32) -> Result<Once>,
}

/// In the order in which a command and then a query meet them.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "decide_and_evolve",
        is: "a deposit decided, and its event taken into the state",
        times: 5_000,
        prepare: decide_and_evolve,
    },
    Operation {
        name: "encode_and_decode",
        is: "a deposit's event to JSON and back",
        times: 5_000,
        prepare: encode_and_decode,
    },
    Operation {
        name: "hash_chain",
        is: "the next link of the hash chain",
        times: 2_000,
        prepare: hash_chain,
    },
    Operation {
        name: "append_batch",
        is: "64 events appended in one transaction",
        times: 30,
        prepare: append_batch,
    },
    Operation {
        name: "command",
        is: "POST /accounts/{id}/deposit through the router, one client",
        times: 400,
        prepare: command,
    },
    Operation {
        name: "feed_page_built",
        is: "1000 events read from the log as JSON",
        times: 10,
        prepare: feed_page_built,
    },
    Operation {
        name: "feed_page_read",
        is: "1000 events read from JSON",
        times: 10,
        prepare: feed_page_read,
    },
    Operation {
        name: "projection_page",
        is: "1000 events checked and taken into all projections",
        times: 6,
        prepare: projection_page,
    },
    Operation {
        name: "query_account",
        is: "GET /accounts/{id} through the router",
        times: 4_000,
        prepare: query_account,
    },
    Operation {
        name: "request",
        is: "a request and a constant response over a socket, client included",
        times: 1_000,
        prepare: request,
    },
];

// --------------------------------------------------------------------------------- the core

fn decide_and_evolve(_: &Path, _: u32) -> Result<Once> {
    let mut account = Account::default().evolve(&event_at(1));
    let movement =
        Movement { amount: 12_345, description: Some("for the bicycle".to_owned()), transfer_id: None };
    let deposit = AccountCommand::Deposit(movement);
    Ok(Box::new(move || {
        let events =
            black_box(&account).decide(black_box(&deposit)).map_err(|rejection| format!("{rejection:?}"))?;
        account = events.iter().fold(std::mem::take(&mut account), Account::evolve);
        Ok(())
    }))
}

fn encode_and_decode(_: &Path, _: u32) -> Result<Once> {
    let happened = event_at(2);
    Ok(Box::new(move || {
        let json = black_box(&happened).to_json()?;
        black_box(decode::<AccountEvent>(black_box(&RecordedEvent { data: &json, ..DEPOSIT }))?);
        Ok(())
    }))
}

fn hash_chain(_: &Path, _: u32) -> Result<Once> {
    let mut hash = Hash::ZERO;
    Ok(Box::new(move || {
        hash = chain(&hash, black_box(&DEPOSIT));
        Ok(())
    }))
}

// -------------------------------------------------------------------------- the write side

/// A log with that many events of the history.
fn filled(directory: &Path, events: u64) -> Result<Arc<EventLog>> {
    let db = directory.join("log.sqlite3");
    let mut history = History::START;
    append(&mut *SqliteDatabase::open(&db)?.writer(std::sync::Arc::default())?, &mut history, events)?;
    // Opened anew: the database that wrote holds the lock on its file.
    Ok(EventLog::open(SqliteDatabase::open(&db)?)?)
}

fn append(store: &mut dyn EventStore, history: &mut History, events: u64) -> Result<()> {
    store.begin()?;
    for _ in 0..events {
        history.next(|event| Ok(store.append(event)?))?;
    }
    Ok(store.commit()?)
}

fn append_batch(directory: &Path, _: u32) -> Result<Once> {
    let database = SqliteDatabase::open(directory.join("log.sqlite3"))?;
    let mut store = database.writer(std::sync::Arc::default())?;
    let mut history = History::START;
    Ok(Box::new(move || {
        // The lock on the file lives as long as the database does.
        let _ = &database;
        append(&mut *store, &mut history, BATCH)
    }))
}

fn command(directory: &Path, _: u32) -> Result<Once> {
    // The history is older than any clock, so its log can be continued at any time.
    let log = filled(directory, ACCOUNTS)?;
    let bank = Executor::start(Arc::clone(&log), |_| {})?;
    let router = Router::new(WriteSide::new(bank, log, LongPolls::new(1)), write_side::ROUTES);
    let mut turn = 0;
    Ok(Box::new(move || {
        let target = format!("/accounts/{}/deposit", account_id(turn % ACCOUNTS));
        turn += 1;
        let request = Request::post(&target, r#"{"amount":12345,"description":"for the bicycle"}"#);
        expect_ok(&router.handle(black_box(&request)))
    }))
}

fn feed_page_built(directory: &Path, _: u32) -> Result<Once> {
    let log = filled(directory, PAGE)?;
    Ok(Box::new(move || {
        black_box(log.page(0, u32::try_from(PAGE)?, Duration::ZERO)?);
        Ok(())
    }))
}

// --------------------------------------------------------------------------- the read side

fn feed_page_read(_: &Path, _: u32) -> Result<Once> {
    let mut history = History::START;
    let page = history.page()?;
    Ok(Box::new(move || {
        black_box(black_box(&page).content()?);
        Ok(())
    }))
}

fn projection_page(directory: &Path, times: u32) -> Result<Once> {
    let mut projector = Projector::open(&directory.join("read.sqlite3"), &projections())?;
    let mut pages = Pages::of(times)?;
    let mut until = 0;
    Ok(Box::new(move || {
        until += PAGE;
        Ok(projector.catch_up(&mut pages, until)?)
    }))
}

fn query_account(directory: &Path, _: u32) -> Result<Once> {
    let db = directory.join("read.sqlite3");
    Projector::open(&db, &projections())?.catch_up(&mut Pages::of(1)?, PAGE)?;
    // It knows no registry, so it follows nothing: the rows stay as they are.
    let poll_interval = Duration::from_secs(30);
    let options = read_side::ReadOptions {
        registries: Vec::new(),
        write_side: None,
        poll_interval,
        max_waits: 1,
        ready_lag: 0,
    };
    let side = ReadSide::start(ReadSide::open(&db)?, options)?;
    let router = Router::new(side, read_side::routes());
    let mut turn = 0;
    // Connections keep their snapshots once no commit is young any more. Asleep, since a loop that looks
    // at the clock costs more or less from run to run.
    std::thread::sleep(SETTLED);
    Ok(Box::new(move || {
        let request = Request::get(&format!("/accounts/{}", account_id(turn % ACCOUNTS)));
        turn += 1;
        expect_ok(&router.handle(black_box(&request)))
    }))
}

// -------------------------------------------------------------------------------- the wire

/// As a browser sends it.
const REQUEST: &[u8] = b"GET /accounts/01890a5d-ac96-774b-0000-000000000007 HTTP/1.1\r\n\
Host: 127.0.0.1:7002\r\n\
Connection: keep-alive\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: application/json, text/plain;q=0.9, */*;q=0.8\r\n\
Accept-Language: en-GB,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate\r\n\
If-None-Match: \"2\"\r\n\
\r\n";

fn request(_: &Path, _: u32) -> Result<Once> {
    let body = vec![b'x'; 256];
    let server = serve(TcpListener::bind("127.0.0.1:0")?, http::Options::default(), move |_| {
        Response::new(200, "application/json", body.clone())
    })?;
    let mut client = TcpStream::connect(server.local_addr())?;
    client.set_nodelay(true)?;
    let mut answer = vec![0; 4096];
    Ok(Box::new(move || {
        // A server that is dropped stops.
        let _ = &server;
        client.write_all(REQUEST)?;
        let length = client.read(&mut answer)?;
        let is_whole = answer[..length].starts_with(b"HTTP/1.1 200 ") && answer[..length].ends_with(b"xxx\n");
        if is_whole { Ok(()) } else { Err("the engine did not answer in one piece".into()) }
    }))
}

fn expect_ok(response: &Response) -> Result<()> {
    if response.status == 200 { Ok(()) } else { Err(format!("{response:?}").into()) }
}
