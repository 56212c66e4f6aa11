//! What a step's loss costs on the host: every loss of the registry on a step's rows.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use halo_loss::{Label, Loss, Normalizer, Params, Point, Row, evaluate, registry};
use std::hint::black_box;

/// Log-ratios spread over ±40 nats, labels in turn, so that paired losses read them too.
fn rows(n: usize) -> Vec<Row> {
    let row = |i: usize| Row {
        logp: -60.0 - (i * 37 % 100) as f64 + ((i * 61 % 800) as f64 - 400.0) / 10.0,
        ref_logp: -60.0 - (i * 37 % 100) as f64,
        tokens: 20 + (i % 30) as u32,
        label: if i.is_multiple_of(2) {
            Label::Desirable
        } else {
            Label::Undesirable
        },
    };
    (0..n).map(row).collect()
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("evaluate");
    for spec in registry() {
        let loss = Loss::new(spec.name, &Params::new()).expect("defaults are allowed");
        for n in [32, 4096] {
            let rows = rows(n);
            let (point, normalizer) = (Point::default(), Normalizer::of(&loss, &rows));
            group.throughput(Throughput::Elements(n as u64));
            group.bench_with_input(BenchmarkId::new(spec.name, n), &rows, |bencher, rows| {
                bencher.iter(|| evaluate(&loss, black_box(rows), &point, &normalizer));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
