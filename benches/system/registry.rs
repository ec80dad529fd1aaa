//! The registry with a thousand instances: look-ups, and heartbeats of all of them.

use uuid::Uuid;

use crate::Result;
use crate::baseline::Constant;
use crate::client::{get, post, put};
use crate::commands::load;
use crate::figure::{Figure, Target};
use crate::fill::account_id;
use crate::load::send_all;
use crate::process::Process;
use crate::samples::{Bench, median};

const INSTANCES: u64 = 1000;
/// A look-up answers with this many.
const INSTANCES_OF_A_SERVICE: u64 = 2;

/// The group `registry`.
pub(crate) fn registry(bench: &Bench) -> Result<Vec<Figure>> {
    let (registry, constant) = (Process::registry()?, Constant::start()?);
    let address = registry.address();
    send_all(address, &(0..INSTANCES).map(registration).collect::<Vec<_>>())?;
    let look_ups: Vec<_> =
        (0..INSTANCES).map(|number| get(&format!("/services/{}", service_of(number)))).collect();
    let heartbeats: Vec<_> = (0..INSTANCES).map(heartbeat).collect();
    let (looking, beating) = (load(address, &look_ups, bench), load(address, &heartbeats, bench));
    let [limit, looked, beaten] =
        bench.in_turn([&|| constant.measure(&bench.plan, 64), &|| looking.run(), &|| beating.run()])?;
    let limit = median(&limit);
    Ok(vec![
        Figure::per_second(
            "registry.look-ups.rate",
            "look-ups, 64 clients, 1 000 instances",
            median(&looked),
        )
        .against("constant response", limit)
        .target(Target::RatioAtLeast(0.7)),
        Figure::per_second(
            "registry.heartbeats.rate",
            "heartbeats, 64 clients, 1 000 instances",
            median(&beaten),
        )
        .against("constant response", limit)
        .target(Target::AtLeast(10_000.0)),
    ])
}

fn service_of(number: u64) -> String {
    format!("service-{}", number / INSTANCES_OF_A_SERVICE)
}

fn instance(number: u64) -> Uuid {
    account_id(number)
}

fn registration(number: u64) -> Vec<u8> {
    let (name, id, port) = (service_of(number), instance(number), 1024 + number);
    post(
        "/services",
        &format!(r#"{{"name":"{name}","host":"127.0.0.1","port":{port},"instance_id":"{id}"}}"#),
    )
}

fn heartbeat(number: u64) -> Vec<u8> {
    put(&format!("/services/{}/{}/heartbeat", service_of(number), instance(number)))
}
