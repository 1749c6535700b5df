//! Pushes one file as the only layer of nothing: the transfer alone, for `make bench-image`.
//!
//! `push_layer described|streamed HOST:PORT/REPOSITORY FILE`: either hashes the layer and then sends it, or hashes what
//! it sends.

use std::fs::File;
use std::process::ExitCode;
use std::sync::Arc;

use launchway_operator::image::Blob;
use launchway_operator::image::layer::{Content, Layer, LayerEncoding, LayerEntry, content_time};
use launchway_operator::registry::{Client, ClientOptions, Repository, Silent};

async fn push(mode: &str, repository: &str, file: &str) -> Result<String, Box<dyn std::error::Error>> {
    let repository = Repository::parse(repository)?;
    let options = ClientOptions { plain_http: [repository.registry().to_owned()].into(), ..ClientOptions::default() };
    let client = Client::new(options)?;
    let blob = Blob::from_file(File::open(file)?)?;
    // Name and time of the layer's entry follow from the content, so it is read once before everything else.
    let digest = blob.digest()?;
    let path = format!("opt/launchway/install/{}.zip", digest.short());
    let layer = Layer::new(
        vec![LayerEntry { path, content: Content::File(blob, 0o444), mtime: content_time(&digest) }],
        LayerEncoding::Gzip,
    )?;
    let described = if mode == "streamed" {
        client.push_layer(&repository, &layer, (&Silent, "")).await?
    } else {
        let described = layer.describe()?;
        client.push_blob(&repository, &described.digest, Arc::new(layer), None, (&Silent, "")).await?;
        described
    };
    Ok(described.digest.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, repository, file] = arguments.as_slice() else {
        eprintln!("push_layer described|streamed HOST:PORT/REPOSITORY FILE");
        return ExitCode::from(2);
    };
    match push(mode, repository, file).await {
        Ok(digest) => {
            println!("{digest}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
