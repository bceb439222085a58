//! Families of metrics, written down.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

/// The labels of one sample, and its value.
type Sample = (Vec<(&'static str, String)>, Value);

#[derive(Clone, Debug)]
enum Value {
    Counter(f64),
    Gauge(f64),
    /// The sum, and how many there are up to each bound and above the one before; `None` = no bound.
    Histogram(f64, Vec<(Option<f64>, u64)>),
    /// Labels alone.
    Info,
}

/// What a family is.
#[derive(Clone, Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    kind: MetricType,
    samples: Vec<Sample>,
}

/// Families of metrics, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Families(Vec<Family>);

/// A family that is being filled.
#[derive(Debug)]
pub(super) struct Filling<'a>(&'a mut Family);

impl Families {
    fn family(&mut self, kind: MetricType, name: &'static str, unit: Option<Unit>, help: &'static str) -> Filling<'_> {
        let same = |family: &Family| {
            family.name == name && family.unit.as_ref().map(Unit::as_str) == unit.as_ref().map(Unit::as_str)
        };
        debug_assert!(!self.0.iter().any(same), "{name} is there once");
        self.0.push(Family { name, help, unit, kind, samples: Vec::new() });
        Filling(self.0.last_mut().expect("one was added"))
    }

    /// Numbers that only go up. The name is without its unit and without `_total`, which are added.
    pub(super) fn counter(&mut self, name: &'static str, unit: Option<Unit>, help: &'static str) -> Filling<'_> {
        self.family(MetricType::Counter, name, unit, help)
    }

    /// Numbers that go up and down.
    pub(super) fn gauge(&mut self, name: &'static str, unit: Option<Unit>, help: &'static str) -> Filling<'_> {
        self.family(MetricType::Gauge, name, unit, help)
    }

    /// How many there are of which size.
    pub(super) fn histogram(&mut self, name: &'static str, unit: Unit, help: &'static str) -> Filling<'_> {
        self.family(MetricType::Histogram, name, Some(unit), help)
    }

    /// Text in labels.
    pub(super) fn info(&mut self, name: &'static str, help: &'static str) -> Filling<'_> {
        self.family(MetricType::Info, name, None, help)
    }

    /// As OpenMetrics text.
    pub(super) fn into_text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::with_capacity(32 * 1024);
        text::encode(&mut text, &registry).expect("writing to a string does not fail");
        text
    }
}

fn owned(labels: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    labels.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no integers either")]
pub(super) const fn float(number: u64) -> f64 {
    number as f64
}

impl Filling<'_> {
    fn sample(&mut self, labels: &[(&'static str, &str)], value: Value) -> &mut Self {
        self.0.samples.push((owned(labels), value));
        self
    }

    /// A sample of a counter or gauge.
    pub(super) fn put(&mut self, labels: &[(&'static str, &str)], number: u64) -> &mut Self {
        self.put_float(labels, float(number))
    }

    /// The same with a fraction.
    pub(super) fn put_float(&mut self, labels: &[(&'static str, &str)], number: f64) -> &mut Self {
        let value = match self.0.kind {
            MetricType::Counter => Value::Counter(number),
            _ => Value::Gauge(number),
        };
        self.sample(labels, value)
    }

    /// A sample of a histogram.
    pub(super) fn put_times(
        &mut self,
        labels: &[(&'static str, &str)],
        sum: f64,
        buckets: Vec<(Option<f64>, u64)>,
    ) -> &mut Self {
        self.sample(labels, Value::Histogram(sum, buckets))
    }

    /// A sample of text.
    pub(super) fn put_text(&mut self, labels: &[(&'static str, &str)]) -> &mut Self {
        self.sample(labels, Value::Info)
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for Family { name, help, unit, kind, samples } in &self.0 {
            let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), *kind)?;
            for (labels, value) in samples {
                match value {
                    Value::Info => metric.encode_info(labels)?,
                    value if labels.is_empty() => write(&mut metric, value)?,
                    value => write(&mut metric.encode_family(labels)?, value)?,
                }
            }
        }
        Ok(())
    }
}

fn write(metric: &mut MetricEncoder<'_>, value: &Value) -> Result<(), std::fmt::Error> {
    match value {
        // What is whole is written so: easier to read, and to compare.
        Value::Counter(number) if number.fract() == 0.0 => {
            metric.encode_counter::<NoLabelSet, _, f64>(&whole(*number), None)
        }
        Value::Counter(number) => metric.encode_counter::<NoLabelSet, _, f64>(number, None),
        Value::Gauge(number) if number.fract() == 0.0 => metric.encode_gauge(&whole(*number)),
        Value::Gauge(number) => metric.encode_gauge(number),
        Value::Histogram(sum, buckets) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            let buckets: Vec<_> =
                buckets.iter().map(|(bound, count)| (bound.unwrap_or(f64::INFINITY), *count)).collect();
            metric.encode_histogram::<NoLabelSet>(*sum, count, &buckets, None)
        }
        Value::Info => Ok(()),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole, and was made of a u64")]
const fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_openmetrics() {
        let mut families = Families::default();
        families.counter("a", Some(Unit::Bytes), "An a").put(&[("b", "x\"y")], 7);
        families.gauge("c", None, "A c").put_float(&[], 0.5);
        families.histogram("d", Unit::Seconds, "A d").put_times(&[], 1.5, vec![(Some(1.0), 2), (None, 1)]);
        assert_eq!(
            families.into_text(),
            "# HELP a_bytes An a\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{b=\"x\\\"y\"} 7\n\
             # HELP c A c\n# TYPE c gauge\nc 0.5\n\
             # HELP d_seconds A d\n# TYPE d_seconds histogram\n# UNIT d_seconds seconds\n\
             d_seconds_sum 1.5\nd_seconds_count 3\nd_seconds_bucket{le=\"1.0\"} 2\nd_seconds_bucket{le=\"+Inf\"} 3\n\
             # EOF\n"
        );
    }
}
