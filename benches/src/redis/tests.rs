//! Whoever is compared does the same work.

use super::hand::{AsyncHand, BlockingHand};
use super::server::{Mode, Server, version};
use crate::flight::{AsyncGuard, two_workers};
use crate::{Guard, Lessor, Receipt, Told};

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

async fn check(guard: &impl AsyncGuard) {
    assert_eq!(guard.run("one", &Receipt::new(1)).await, Told::Done);
    assert_eq!(guard.run("one", &Receipt::new(2)).await, Told::Replayed(Receipt::new(1)));
    assert!(matches!(guard.run("two", &Receipt::new(2)).await, Told::Refused(_)));
}

#[test]
fn who_is_asynchronous_does_the_work_once_replays_it_and_refuses_what_is_held() {
    let (Some((_a, first)), Some((_b, second))) = (server(), server()) else { return };
    let runtime = two_workers();
    let lessor = Lessor::redis(&first.url(), None).expect("a store");
    lessor.hold("two");
    runtime.block_on(check(&lessor));
    runtime.block_on(async {
        let hand = AsyncHand::connect(&second.url()).await.expect("a connection");
        hand.hold("two").await;
        check(&hand).await;
        assert_eq!(hand.get("one").await, Told::Replayed(Receipt::new(1)));
        assert!(matches!(hand.get("two").await, Told::Refused(_)));
    });
}

#[test]
fn who_blocks_does_the_work_once_and_replays_it() {
    let (Some((_a, first)), Some((_b, second))) = (server(), server()) else { return };
    let lessor = Lessor::redis(&first.url(), None).expect("a store");
    let hand = BlockingHand::connect(&second.url(), 2).expect("connections");
    let by_lessor = |receipt: &Receipt| Guard::run(&lessor, "one", receipt);
    let by_hand = |receipt: &Receipt| hand.run(receipt.charge % 2, "one", receipt);
    let all: [&dyn Fn(&Receipt) -> Told; 2] = [&by_lessor, &by_hand];
    for run in all {
        assert_eq!(run(&Receipt::new(1)), Told::Done);
        assert_eq!(run(&Receipt::new(2)), Told::Replayed(Receipt::new(1)));
    }
}
