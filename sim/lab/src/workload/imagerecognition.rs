//! ImageRecognition: a short workflow over remote functions.
//!
//! Four stages one after the other, each a call by HTTP to a function elsewhere (AWS Lambda in the
//! published latency test): `ExtractMetadata` of an image, `TransformMetadata`, then in parallel
//! `Rekognition` (what is in the image) and `Thumbnail`, then `StoreMetadata`. The testbed's engine
//! runs the workflow; the functions run outside of it.
//!
//! **Assumed.** What a function takes is not published, so these are guesses of the size of things,
//! the same for every engine: medians of [`REMOTE_MS`], log-normal with `sigma` [`REMOTE_SIGMA`], a
//! warm function with its HTTP round trip. They take no core of the host. Draws depend on the call
//! alone, so every engine meets the same.
//!
//! **Modelled.** No image is read. What a stage finds is derived from the image's name, and the
//! orchestration returns what all stages found, which is checked.

use super::{Start, Workload, WorkloadKind, completed, mix};
use futures_util::future::try_join;
use serde::{Deserialize, Serialize};
use sim_model::application::{ActivityContext, Application, ApplicationError};
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_world::distribution::Latency;
use sim_world::seed::SeedTree;
use std::rc::Rc;

/// Medians of what the functions take, in milliseconds: [assumption] reading the headers of an image
/// from an object store; reshaping a small document; recognition by a service; scaling an image; one
/// write to a table.
const REMOTE_MS: [(&str, f64); 5] =
    [(EXTRACT, 300.0), (TRANSFORM, 25.0), (RECOGNIZE, 800.0), (THUMBNAIL, 500.0), (STORE, 50.0)];
/// Standard deviation of the logarithm of what a function takes: [assumption].
const REMOTE_SIGMA: f64 = 0.25;

const EXTRACT: &str = "ExtractMetadata";
const TRANSFORM: &str = "TransformMetadata";
const RECOGNIZE: &str = "Rekognition";
const THUMBNAIL: &str = "Thumbnail";
const STORE: &str = "StoreMetadata";

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "imagerecognition",
    summary: "ImageRecognition: four stages of remote functions, the third two in parallel",
    parameters: &[],
    files: &[],
    load: "open:rate=5,duration=60s",
    build: |_| Ok(Rc::new(ImageRecognition)),
};

/// What the first stage finds in the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Metadata {
    format: String,
    width: u64,
    height: u64,
}

impl Metadata {
    fn of(image: &str) -> Self {
        let draw = draw(image, 0);
        let format = ["JPEG", "PNG"][(draw % 2) as usize].to_owned();
        Metadata { format, width: 640 + draw / 2 % 3_000, height: 480 + draw / 8_192 % 2_000 }
    }

    /// What the second stage makes of it.
    fn transformed(self) -> Properties {
        let Metadata { format, width, height } = self;
        Properties { format, size: format!("{width}x{height}"), pixels: width * height }
    }
}

/// The metadata in the form in which they are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Properties {
    format: String,
    size: String,
    pixels: u64,
}

/// What the workflow stores, and returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    image: String,
    properties: Properties,
    labels: Vec<String>,
    thumbnail: String,
}

impl Entry {
    fn of(image: &str) -> Self {
        Entry {
            image: image.to_owned(),
            properties: Metadata::of(image).transformed(),
            labels: labels(image),
            thumbnail: thumbnail(image),
        }
    }
}

/// What is in the image.
fn labels(image: &str) -> Vec<String> {
    const THINGS: [&str; 8] =
        ["Person", "Dog", "Bridge", "Tree", "Car", "Mountain", "Boat", "Building"];
    let draw = draw(image, 1);
    let seen = THINGS.iter().enumerate().filter(|(bit, _)| draw >> bit & 1 == 1);
    seen.map(|(_, &thing)| thing.to_owned()).collect()
}

/// Where the small image lies.
fn thumbnail(image: &str) -> String {
    format!("thumbnails/{image}")
}

/// A number that depends on the image and the stage.
fn draw(image: &str, stage: u64) -> u64 {
    image.bytes().fold(mix(stage), |hash, byte| mix(hash ^ u64::from(byte)))
}

async fn image_recognition(
    context: OrchestrationContext,
    image: String,
) -> Result<Entry, ApplicationError> {
    let metadata: Metadata = context.call_activity(EXTRACT, &image).await?;
    let properties: Properties = context.call_activity(TRANSFORM, &metadata).await?;
    let recognition = context.call_activity(RECOGNIZE, &image);
    let (labels, thumbnail) =
        try_join(recognition, context.call_activity(THUMBNAIL, &image)).await?;
    let entry = Entry { image, properties, labels, thumbnail };
    context.call_activity(STORE, &entry).await
}

/// Registers the remote function `name`, which makes of its input what `code` says.
fn remote<I, O>(application: &mut Application, name: &'static str, code: fn(I) -> O)
where
    I: serde::de::DeserializeOwned + 'static,
    O: Serialize + 'static,
{
    let median_ms = REMOTE_MS.iter().find(|(other, _)| *other == name).map(|(_, ms)| *ms);
    let median_ms = median_ms.expect("invariant: every function has its time");
    application.activity(name, move |cx: ActivityContext, input: I| async move {
        let mut stream = SeedTree::new(cx.call_key()).stream("remote function");
        let latency = Latency::LogNormal { median_ms, sigma: REMOTE_SIGMA };
        cx.wait(latency.sample(&mut stream)).await;
        Ok(code(input))
    });
}

struct ImageRecognition;

impl Workload for ImageRecognition {
    fn register(&self, application: &mut Application) {
        remote(application, EXTRACT, |image: String| Metadata::of(&image));
        remote(application, TRANSFORM, Metadata::transformed);
        remote(application, RECOGNIZE, |image: String| labels(&image));
        remote(application, THUMBNAIL, |image: String| thumbnail(&image));
        remote(application, STORE, |entry: Entry| entry);
        application.orchestration("ImageRecognition", image_recognition);
    }

    fn start(&self) -> Start {
        Start::Orchestration("ImageRecognition")
    }

    fn input(&self, index: u64) -> Payload {
        Payload::encode(&image(index)).expect("invariant: text has a JSON form")
    }

    fn check(&self, index: u64, status: &RuntimeStatus) -> Result<(), String> {
        let (entry, expected): (Entry, Entry) = (completed(status)?, Entry::of(&image(index)));
        if entry == expected {
            return Ok(());
        }
        Err(format!("returned {entry:?}, expected {expected:?}"))
    }

    fn timing_independent(&self) -> bool {
        true
    }
}

/// The image of the orchestration with this index.
fn image(index: u64) -> String {
    format!("image-{index:06}.jpg")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_knows_right_from_wrong() {
        let check = |entry: &Entry| {
            let result = Payload::encode(entry).expect("an entry");
            ImageRecognition.check(7, &RuntimeStatus::Completed(result))
        };
        let right = Entry::of(&image(7));
        assert_eq!(check(&right), Ok(()));
        assert!(check(&Entry::of(&image(8))).is_err());
        let no_labels = Entry { labels: Vec::new(), ..right.clone() };
        assert_ne!(right.labels, no_labels.labels);
        assert!(check(&no_labels).is_err());
    }
}
