//! What traces cost a call: without a collector, unrecorded, recorded. Prints times for docs/tracing.md; asserts nothing about
//! speed, as machines differ.

#![expect(clippy::unwrap_used, reason = "in a measurement a panic is the report")]
#![expect(clippy::print_stdout, reason = "it is what this is for")]

use bursar::traces::{self, Collector, Tracer, names};
use http::{HeaderMap, HeaderValue};
use std::{hint::black_box, time::Duration};
use tokio::time::Instant;

/// How long a batch of calls takes at least: short enough to run now and then without being interrupted.
const BATCH: Duration = Duration::from_micros(300);
/// Batches of which the fastest counts: what else runs on the machine only adds.
const BATCHES: usize = 5000;
const GET_TOKEN: &str = "/bursar.v1.TokenService/GetToken";

/// The fastest batch, for each call, in nanoseconds.
fn measured(mut work: impl FnMut()) -> f64 {
    let mut each = 1_u32;
    let time = |each: u32, work: &mut dyn FnMut()| {
        let begun = Instant::now();
        for _ in 0..each {
            work();
        }
        begun.elapsed()
    };
    while (0..20).map(|_| time(each, &mut work)).min().unwrap() < BATCH {
        each *= 2;
    }
    let best = (0..BATCHES).map(|_| time(each, &mut work)).min().unwrap();
    best.as_secs_f64() * 1e9 / f64::from(each)
}

/// What a gRPC client sends beside its message, and what it says of its trace.
fn headers(flags: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "grpc-go/1.80.0"),
        ("grpc-timeout", "5S"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(flags) = flags {
        let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        headers.insert("traceparent", parent.parse().unwrap());
    }
    headers
}

#[tokio::main]
async fn main() {
    // Nobody is there: what it takes to deliver is no caller's time.
    let collector = |sample_one_in| Collector {
        address: "http://127.0.0.1:9".parse().unwrap(),
        tls: None,
        instance: "measured".to_owned(),
        sample_one_in,
    };
    let (off, on) = (Tracer::default(), Tracer::to(collector(1)).unwrap());
    let seldom = Tracer::to(collector(1_000_000)).unwrap();
    for (title, tracer, flags) in [
        ("a call, without a collector", &off, Some("01")),
        ("a call without a traceparent", &on, None),
        ("a call whose caller records nothing", &on, Some("00")),
        ("a call that is recorded", &on, Some("01")),
    ] {
        let headers = headers(flags);
        let nanoseconds = measured(|| drop(black_box(tracer.call(GET_TOKEN, black_box(&headers)))));
        println!("{title:<44}{nanoseconds:>9.1} ns");
    }
    let step = measured(|| drop(black_box(traces::step(&names::CLAIM))));
    println!("{:<44}{step:>9.1} ns", "a step outside of a trace");
    let ids = measured(|| assert!(black_box(traces::ids()).is_none()));
    println!("{:<44}{ids:>9.1} ns", "a log line's look for a trace, in vain");
    let begun = measured(|| drop(black_box(seldom.begin(&names::REFRESH, None))));
    println!("{:<44}{begun:>9.1} ns", "a refresh that is not recorded");
    let begun = measured(|| drop(black_box(on.begin(&names::REFRESH, None))));
    println!("{:<44}{begun:>9.1} ns", "a refresh that is recorded, without its steps");
}
