use lessor::block_on;

use super::hand::{AsyncHand, BlockingHand};
use super::locks::Locks;
use super::server::{Mode, Server, version};
use super::*;
use crate::check::{is_one_for_many, keeps_its_word, refuses};

fn server() -> Option<(tempfile::TempDir, Server)> {
    if version().is_none() {
        assert!(std::env::var_os("CI").is_none(), "there is no redis-server on the PATH");
        eprintln!("SKIPPED: THERE IS NO redis-server ON THE PATH");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), Mode::Durable).expect("a server");
    Some((folder, server))
}

#[test]
fn every_contender_does_the_work_once_replays_it_and_refuses_what_is_held() {
    let servers: Vec<_> = (0..4).map_while(|_| server()).collect();
    let [(_, one), (_, two), (_, three), (_, four)] = &servers[..] else { return };
    let _entered = runtime().enter();
    let lessor = redis(&one.url(), Some(runtime())).expect("a store");
    keeps_its_word(&lessor);
    is_one_for_many(lessor);
    let hand = BlockingHand::connect(&two.url(), 4).expect("connections");
    keeps_its_word(&hand);
    is_one_for_many(hand);
    keeps_its_word(&runtime().block_on(AsyncHand::connect(&three.url())).expect("a connection"));
    block_on(refuses(&Locks::new(&four.url())));
}
