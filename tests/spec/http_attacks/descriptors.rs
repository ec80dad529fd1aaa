//! Descriptor exhaustion, in a process of its own: this test binary, started again with few.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tally::http::Engine;

use crate::http_peer::{Peer, Setup};

const CHILD: &str = "http_attacks::descriptors::the_service_with_few_descriptors";
/// The child says where it listens after this.
const PORT: &str = "listening on ";

/// With no descriptor left, connections cannot even be refused; so those who only wait make room.
#[test]
#[ignore = "slow suite: just attack-test"]
fn when_descriptors_run_out_newcomers_are_still_served() {
    let (mut child, address, _stdout) = start_child();
    let patience = Duration::from_secs(20);
    let idle: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
    let deadline = Instant::now() + patience;
    for _ in 0..5 {
        let mut newcomer = Peer::at(address, patience);
        newcomer.is_open();
        assert!(Instant::now() < deadline);
    }
    drop(idle);
    Peer::at(address, patience).is_open();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

/// The child, its address, and the end of its output, which must stay open while it runs.
fn start_child() -> (Child, SocketAddr, impl Sized) {
    let arguments = ["--exact", "--ignored", "--nocapture", CHILD];
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 200; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(arguments)
        .env("TALLY_FEW_DESCRIPTORS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line =
        lines.by_ref().map_while(Result::ok).find_map(|line| Some(line.split_once(PORT)?.1.to_owned()));
    let address = line.expect("the child says where it listens").parse().unwrap();
    (child, address, lines)
}

/// Not a test of its own: the other process of the one above.
#[test]
#[ignore = "started by another test"]
#[allow(clippy::print_stdout)] // How the other process learns the port.
fn the_service_with_few_descriptors() {
    if std::env::var_os("TALLY_FEW_DESCRIPTORS").is_none() {
        return;
    }
    let service = Setup::on(Engine::Blocking).start();
    println!("{PORT}{}", service.server.local_addr());
    let mut hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(hoard.len() < 200, "the limit was not set");
    hoard.truncate(hoard.len() - 10);
    // Until the other side closes its end.
    let _ = std::io::stdin().read(&mut [0]);
    service.server.stop();
}
