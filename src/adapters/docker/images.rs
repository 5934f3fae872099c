//! Images in Docker: what they are, their names, and getting them out.
//! Depends on: names, adapters::docker, bollard.

use std::collections::HashMap;
use std::time::Duration;

use bollard::query_parameters::{
    ListImagesOptions, PushImageOptions, RemoveImageOptions, TagImageOptions,
};
use futures_util::{Stream, StreamExt};
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};

use super::{DockerError, Engine, call, is_not_found};
use crate::names::{ConfigDigest, ImageRef};

/// The label that carries the content key.
pub const KEY_LABEL: &str = "dev.tg.key";
/// The label that names the image of the task file, since labels are inherited by `FROM`.
pub const IMAGE_LABEL: &str = "dev.tg.image";

/// How long the engine may be silent while it pushes.
const SILENCE: Duration = Duration::from_secs(300);

/// An image as the engine describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Image {
    /// The engine's own id: a config, manifest or index digest, by its store.
    pub id: String,
    /// The config digest, when the engine tells it.
    pub config: Option<ConfigDigest>,
    /// The digests of its layers when they are unpacked, the lowest first.
    pub layers: Vec<String>,
    /// Whether it is an index: of several platforms, or with attestations.
    pub is_index: bool,
    /// Its labels.
    pub labels: HashMap<String, String>,
    /// Bytes.
    pub size: u64,
}

impl Engine {
    /// Looks at an image by name or id; `None` when there is none.
    ///
    /// # Errors
    /// [`DockerError::Call`].
    pub async fn image(&self, name: &str) -> Result<Option<Image>, DockerError> {
        let inspect = match self.client().inspect_image(name).await {
            Ok(inspect) => inspect,
            Err(error) if is_not_found(&error) => return Ok(None),
            Err(source) => return Err(call("inspect image", name, source)),
        };
        let id = inspect.id.unwrap_or_default();
        // The containerd store tells the config digest of a plain manifest in an annotation and has a descriptor for
        // every image; without a descriptor the id itself is the config digest.
        let media_type = inspect.descriptor.as_ref().and_then(|d| d.media_type.as_deref());
        let is_index =
            media_type.is_some_and(|t| t.contains("index") || t.contains("manifest.list"));
        let config = match inspect.descriptor {
            None => ConfigDigest::parse(&id),
            Some(descriptor) => descriptor
                .annotations
                .and_then(|annotations| ConfigDigest::parse(annotations.get("config.digest")?)),
        };
        let labels = inspect.config.and_then(|config| config.labels).unwrap_or_default();
        let size = inspect.size.unwrap_or_default().try_into().unwrap_or_default();
        let layers = inspect.root_fs.and_then(|fs| fs.layers).unwrap_or_default();
        Ok(Some(Image { id, config, layers, is_index, labels, size }))
    }

    /// The id of the image that a tag stands for; `None` when there is none.
    ///
    /// # Errors
    /// [`DockerError::Call`].
    pub async fn image_id(&self, tag: &ImageRef) -> Result<Option<String>, DockerError> {
        // Where there are many images, the containerd store takes ten times as long to inspect one as to list it by name.
        let full = tag.canonical();
        // As the engine shows names, whatever the task file has.
        let shown = full.strip_prefix("docker.io/library/").or(full.strip_prefix("docker.io/"));
        let name = shown.unwrap_or(full);
        let filters = HashMap::from([("reference".to_owned(), vec![name.to_owned()])]);
        let options = ListImagesOptions { filters: Some(filters), ..Default::default() };
        let list = self.client().list_images(Some(options)).await;
        let list = list.map_err(|source| call("look for image", name, source))?;
        let mut images = list.into_iter();
        Ok(images.find(|image| image.repo_tags.iter().any(|tag| tag == name)).map(|image| image.id))
    }

    /// Gives an image another name.
    ///
    /// # Errors
    /// [`DockerError::Call`].
    pub async fn tag(&self, image: &str, name: &ImageRef) -> Result<(), DockerError> {
        let options = TagImageOptions {
            repo: Some(name.repository().to_owned()),
            tag: Some(name.tag().to_owned()),
        };
        let tagged = self.client().tag_image(image, Some(options)).await;
        tagged.map_err(|source| call("tag image", image, source))
    }

    /// Removes a name of an image, and the image when it was the last one. Nothing to remove is no error.
    ///
    /// # Errors
    /// [`DockerError::Call`].
    pub async fn untag(&self, name: &str) -> Result<(), DockerError> {
        match self.client().remove_image(name, None::<RemoveImageOptions>, None).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(source) => Err(call("remove image", name, source)),
        }
    }

    /// Pushes an image as `repository:tag`, a name that it has only for that time; of an index (several platforms, or
    /// attestations) only what the engine's own platform needs, where the engine can tell that apart.
    ///
    /// # Errors
    /// [`DockerError::Call`].
    pub async fn push_as(
        &self,
        image: &str,
        (repository, tag): (&str, &str),
        is_index: bool,
    ) -> Result<(), DockerError> {
        let options =
            TagImageOptions { repo: Some(repository.to_owned()), tag: Some(tag.to_owned()) };
        let tagged = self.client().tag_image(image, Some(options)).await;
        tagged.map_err(|source| call("tag image", image, source))?;
        // Since API 1.46.
        let platform = (is_index && self.api >= (1, 46)).then(|| {
            let (os, architecture) = self.platform.split_once('/').unwrap_or_default();
            serde_json::json!({"os": os, "architecture": architecture}).to_string()
        });
        let options = PushImageOptions { tag: Some(tag.to_owned()), platform };
        let mut progress =
            std::pin::pin!(self.client().push_image(repository, Some(options), None));
        let mut pushed = Ok(());
        loop {
            match tokio::time::timeout(SILENCE, progress.next()).await {
                Ok(None) => break,
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(source))) => {
                    pushed = Err(call("push image", image, source));
                    break;
                }
                Err(_elapsed) => {
                    let source = bollard::errors::Error::RequestTimeoutError;
                    pushed = Err(call("push image", image, source));
                    break;
                }
            }
        }
        self.untag(&format!("{repository}:{tag}")).await?;
        pushed
    }

    /// The image as an archive, in pieces.
    pub fn export(&self, name: &str) -> impl Stream<Item = Result<Bytes, DockerError>> + use<> {
        let name = name.to_owned();
        self.client
            .export_image(&name)
            .map(move |piece| piece.map_err(|source| call("export image", &name, source)))
    }
}
