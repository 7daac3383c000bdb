//! From a decoded picture to one of each size.

use super::output::Output;
use super::recipe::{Fields, Means, Place, Told, recipe};
use crate::hardware::Backend;
use crate::sys::{AvError, Graph, GraphInput, Picture, Shape, has_filter};

/// One moment in every size, from large to small.
pub(super) struct Scaled {
    /// Its time.
    pub(super) pts: i64,
    /// A picture of each size.
    pub(super) pictures: Vec<Picture>,
}

/// Scales, and builds its graph anew when what comes in changes.
pub(super) struct Scaler {
    sizes: Vec<(u32, u32)>,
    /// How fields are joined once they are seen.
    on_fields: Fields,
    fields: Fields,
    /// What is known of the source beside its pictures.
    told: Told,
    /// Pictures may stay on this device.
    stay: Option<Backend>,
    timescale: u32,
    means: Means,
    built: Option<Built>,
    out: Output,
}

struct Built {
    graph: Graph,
    shape: Shape,
    delayed: bool,
}

impl Scaler {
    /// For these sizes, from large to small. `on_fields` is done to interlaced pictures.
    pub(super) fn new(sizes: Vec<(u32, u32)>, on_fields: Fields, timescale: u32, out: Output) -> Self {
        let means = Means {
            tone_map: has_filter("zscale") && has_filter("tonemap"),
            deinterlace: has_filter("bwdif"),
        };
        let (fields, told) = (Fields::Progressive, Told::default());
        Self { sizes, on_fields, fields, told, stay: None, timescale, means, built: None, out }
    }

    /// What is known of the source beside its pictures, from the next one on. What is inside has to be flushed before.
    pub(super) fn set_told(&mut self, told: Told) {
        if self.told != told {
            self.told = told;
            self.built = None;
        }
    }

    /// The sizes it makes.
    pub(super) fn sizes(&self) -> &[(u32, u32)] {
        &self.sizes
    }

    /// Other sizes from the next picture on.
    pub(super) fn set_sizes(&mut self, sizes: Vec<(u32, u32)>) {
        if self.sizes != sizes {
            self.sizes = sizes;
            self.built = None;
        }
    }

    /// Every encoder reads from this device, or not.
    pub(super) fn set_stay(&mut self, stay: Option<Backend>) {
        if self.stay != stay {
            self.stay = stay;
            self.built = None;
        }
    }

    /// A picture comes out only when the next is in.
    pub(super) fn is_delayed(&self) -> bool {
        self.built.as_ref().is_some_and(|built| built.delayed)
    }

    /// Scales a picture. What comes out may be none, or more than one.
    pub(super) fn push(&mut self, mut picture: Picture, pts: i64) -> Result<Vec<Scaled>, AvError> {
        picture.mark(pts, false);
        let mut out = Vec::new();
        if picture.is_interlaced() && self.fields == Fields::Progressive {
            self.fields = self.on_fields;
            out.extend(self.flush()?);
        }
        let shape = self.told.complete(picture.shape());
        if self.built.as_ref().is_none_or(|built| built.shape != shape) {
            out.extend(self.flush()?);
            self.built = Some(self.build(&picture, shape)?);
        }
        if let Some(built) = &mut self.built {
            built.graph.push(&picture)?;
        }
        out.extend(self.pull()?);
        Ok(out)
    }

    /// What is inside comes out, and the graph goes.
    pub(super) fn flush(&mut self) -> Result<Vec<Scaled>, AvError> {
        if let Some(built) = &mut self.built {
            built.graph.finish();
        }
        let rest = self.pull();
        self.built = None;
        rest
    }

    fn build(&self, picture: &Picture, shape: Shape) -> Result<Built, AvError> {
        let place = self.place(picture);
        let recipe = recipe(&shape, self.told, self.fields, place, &self.sizes, self.means);
        if let Some(words) = recipe.lacks {
            self.out.trouble(words);
        }
        let input = GraphInput { like: picture, timescale: self.timescale };
        let graph = Graph::build(&input, &recipe.spec, self.sizes.len())?;
        Ok(Built { graph, shape, delayed: recipe.delayed })
    }

    fn place(&self, picture: &Picture) -> Place {
        match picture.device() {
            None => Place::Memory,
            Some(Backend::Nvidia) if has_filter("scale_cuda") => {
                Place::Cuda { stay: self.stay == Some(Backend::Nvidia) }
            }
            Some(Backend::Vaapi) if has_filter("scale_vaapi") => {
                Place::Vaapi { stay: self.stay == Some(Backend::Vaapi) }
            }
            Some(_) => Place::Elsewhere,
        }
    }

    fn pull(&mut self) -> Result<Vec<Scaled>, AvError> {
        let Some(built) = &mut self.built else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        while let Some(first) = built.graph.pull(0, self.timescale)? {
            let pts = first.pts().unwrap_or_default();
            let mut pictures = vec![first];
            for index in 1..self.sizes.len() {
                // Outputs of one split are filled together.
                let Some(picture) = built.graph.pull(index, self.timescale)? else {
                    return Err(AvError::new("scaling", "an output has no picture"));
                };
                pictures.push(picture);
            }
            out.push(Scaled { pts, pictures });
        }
        Ok(out)
    }
}

impl Scaled {
    /// Black pictures of these sizes: what is shown before anything was decoded.
    pub(super) fn black(sizes: &[(u32, u32)], pts: i64) -> Self {
        Self { pts, pictures: sizes.iter().map(|&(width, height)| Picture::black(width, height)).collect() }
    }

    /// The picture of this size.
    pub(super) fn of_size(&self, size: (u32, u32)) -> Option<&Picture> {
        self.pictures.iter().find(|picture| (picture.width(), picture.height()) == size)
    }
}
