use lessor::block_on;

use super::hand::{AsyncHand, BlockingHand};
use super::locks::Locks;
use super::server::{Mode, Server, version};
use super::*;
use crate::check::{grants_each_key_once, refuses, refuses_then_replays};

fn server() -> Option<(tempfile::TempDir, Server)> {
    if version().is_none() {
        assert!(std::env::var_os("CI").is_none(), "there is no redis-server on the PATH");
        eprintln!("SKIPPED: there is no redis-server on the PATH");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), Mode::Durable).expect("a server");
    Some((folder, server))
}

#[test]
fn every_contender_grants_each_key_once_and_replays_and_refuses_it() {
    let servers: Vec<_> = (0..4).map_while(|_| server()).collect();
    let [(_, one), (_, two), (_, three), (_, four)] = &servers[..] else { return };
    let _entered = runtime().enter();
    let lessor = redis(&one.url(), Some(runtime())).expect("a store");
    refuses_then_replays(&lessor);
    grants_each_key_once(lessor);
    let hand = BlockingHand::connect(&two.url(), 4).expect("connections");
    refuses_then_replays(&hand);
    grants_each_key_once(hand);
    refuses_then_replays(&runtime().block_on(AsyncHand::connect(&three.url())).expect("a connection"));
    block_on(refuses(&Locks::new(&four.url())));
}
