//! What a refusal means and what to do about it: pure, from libav's words and from what lies in the file system.

use serde::Serialize;

use super::Backend;
use super::probe::Ability;

/// What the file system says of a machine's devices.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Facts {
    /// `/dev/dri/renderD…`: what VAAPI and QSV open.
    pub render_nodes: Vec<Node>,
    /// `/dev/nvidiactl`, `/dev/nvidia0`, …: what CUDA opens.
    pub nvidia_nodes: Vec<Node>,
    /// This is macOS.
    pub apple: bool,
}

/// A device node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Node {
    /// Where it is.
    pub path: String,
    /// This process may open it.
    pub open: bool,
    /// The group that may, by its number.
    pub group: Option<u32>,
}

/// A refusal in words.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explained {
    /// What it means.
    pub means: String,
    /// What to do.
    pub todo: String,
}

fn explained(means: impl Into<String>, todo: impl Into<String>) -> Explained {
    Explained { means: means.into(), todo: todo.into() }
}

/// Says what a refusal means. `said` is libav's error and what it logged before.
pub fn explain(backend: Backend, ability: Ability, said: &str, facts: &Facts) -> Explained {
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["killed by signal", "ended with code"]) {
        return explained(
            "the driver crashed; streams are safe from it, it ran in a process of its own",
            format!("update the driver, or keep it out with transcode.hardware.forbid = [\"{backend}\"]"),
        );
    }
    if has(&["no answer within"]) {
        return explained(
            "the driver hangs",
            format!(
                "restart the machine or update the driver; until then transcode.hardware.forbid = [\"{backend}\"]"
            ),
        );
    }
    if has(&["built without", "libav has none", "decoder not found", "encoder not found"]) {
        return explained(
            "this build of libav does not contain it",
            "install the distribution's full ffmpeg libraries, or build libav with it",
        );
    }
    if has(&["no idr", "not an idr", "is no key frame"]) {
        return explained(
            "it does not make an IDR where it is told to, so that players could not change renditions",
            "update the driver; older ones do not support it",
        );
    }
    if has(&["does not know the option"]) {
        return explained(
            "this version of libav is too old or too new for the settings",
            "use libav 5.1 to 8",
        );
    }
    match backend {
        Backend::Nvidia => nvidia(ability, &lower, facts),
        Backend::Vaapi | Backend::Qsv => render_node(backend, ability, &lower, facts),
        Backend::VideoToolbox if !facts.apple => {
            explained("VideoToolbox is Apple's, and this is not macOS", "nothing: it is not needed here")
        }
        Backend::VideoToolbox | Backend::Software => unknown(ability),
    }
}

fn nvidia(ability: Ability, said: &str, facts: &Facts) -> Explained {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if let Some(node) = facts.nvidia_nodes.iter().find(|node| !node.open) {
        return not_allowed(node);
    }
    if matches!(ability, Ability::Encode(_))
        && has(&["no capable devices found", "unsupported device", "no nvenc"])
    {
        return explained(
            "this card has no encoder for it (data-centre cards such as A100 and H100 have none at all)",
            "nothing: decoding stays on the card and encoding runs in software",
        );
    }
    if said.contains("session") && has(&["out of memory", "(10)", "too many"]) {
        return explained(
            "all encoding sessions that the driver allows on this card are in use",
            "close other programs that encode, or let further streams encode in software",
        );
    }
    if has(&["minimum required nvidia driver", "driver does not support the required nvenc api"]) {
        return explained("NVIDIA's driver is older than libav asks for", "update the driver");
    }
    if facts.nvidia_nodes.is_empty() {
        return explained(
            "there is no NVIDIA card, or its kernel driver is not loaded: /dev/nvidiactl is missing",
            "with a card, install NVIDIA's driver; in a container, start it with --gpus all",
        );
    }
    if has(&["libcuda", "libnvcuvid", "libnvidia-encode", "cannot load"]) {
        return explained(
            "the card is there, but a library of its driver is not (libcuda, libnvcuvid or libnvidia-encode)",
            "install the driver's libraries (Debian: libcuda1 libnvcuvid1 libnvidia-encode1); in a container set \
             NVIDIA_DRIVER_CAPABILITIES=compute,video,utility",
        );
    }
    if has(&["out of memory"]) {
        return explained("the card's memory is full", "close other programs that use it");
    }
    if has(&["doesn't support", "not supported", "unsupported", "no decoder surfaces"]) {
        return explained("this card does not do it", "nothing: another backend or software does");
    }
    unknown(ability)
}

fn render_node(backend: Backend, ability: Ability, said: &str, facts: &Facts) -> Explained {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if facts.render_nodes.is_empty() {
        return explained(
            "there is no graphics device: /dev/dri has no render node",
            "with a GPU, load its kernel driver; in a container pass --device /dev/dri",
        );
    }
    if let Some(node) = facts.render_nodes.iter().find(|node| !node.open)
        && !facts.render_nodes.iter().any(|node| node.open)
    {
        return not_allowed(node);
    }
    if backend == Backend::Qsv && matches!(ability, Ability::Device) {
        return explained(
            "there is no Intel GPU that Quick Sync runs on, or its runtime is missing",
            "with an Intel GPU install libmfx-gen1.2 (11th generation and newer) or libmfx1; otherwise nothing",
        );
    }
    if matches!(ability, Ability::Device) {
        return explained(
            "no VAAPI driver serves this graphics device",
            "install one: intel-media-va-driver for Intel, mesa-va-drivers for AMD; `vainfo` then lists profiles",
        );
    }
    if has(&[
        "no usable encoding",
        "no usable profile",
        "not supported",
        "profile",
        "entrypoint",
        "unsupported",
    ]) {
        return explained("this GPU does not do it", "nothing: another backend or software does");
    }
    unknown(ability)
}

fn not_allowed(node: &Node) -> Explained {
    let group = match node.group {
        Some(group) => format!("the group with number {group} (render or video)"),
        None => "the group render or video".into(),
    };
    explained(
        format!("{} is there, but this user may not open it", node.path),
        format!(
            "add the user to {group}: `usermod -aG render,video USER`, then log in again; systemd: SupplementaryGroups"
        ),
    )
}

fn unknown(ability: Ability) -> Explained {
    let means = match ability {
        Ability::Device => "its device does not open",
        Ability::Encode(_) => "it does not encode with low-latency settings",
        Ability::Decode(_) => "it does not decode",
        Ability::Scale => "it does not scale; pictures are then scaled by the CPU",
    };
    explained(means, "another backend or software does it; libav's words above say more")
}

/// What the file system says. Opens nothing for longer than the check.
pub fn facts() -> Facts {
    let nodes = |dir: &str, wanted: &dyn Fn(&str) -> bool| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let named = entries.filter(|entry| entry.file_name().to_str().is_some_and(wanted));
        let mut nodes: Vec<Node> = named.map(|entry| node(&entry.path())).collect();
        nodes.sort_by(|a, b| a.path.cmp(&b.path));
        nodes
    };
    let numbered = |name: &str, prefix: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    Facts {
        render_nodes: nodes("/dev/dri", &|name| numbered(name, "renderD")),
        nvidia_nodes: nodes("/dev", &|name| name == "nvidiactl" || numbered(name, "nvidia")),
        apple: cfg!(target_vendor = "apple"),
    }
}

fn node(path: &std::path::Path) -> Node {
    use std::os::unix::fs::MetadataExt as _;
    Node {
        path: path.display().to_string(),
        open: std::fs::OpenOptions::new().read(true).write(true).open(path).is_ok(),
        group: std::fs::metadata(path).ok().map(|meta| meta.gid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::VideoCodec;

    fn node(path: &str, open: bool) -> Node {
        Node { path: path.into(), open, group: Some(105) }
    }

    fn with(render: &[Node], nvidia: &[Node]) -> Facts {
        Facts { render_nodes: render.to_vec(), nvidia_nodes: nvidia.to_vec(), apple: false }
    }

    #[test]
    fn each_refusal_is_told_by_what_it_means_and_what_to_do() {
        let encode = Ability::Encode(VideoCodec::H264);
        let card = with(&[], &[node("/dev/nvidiactl", true)]);
        let gpu = with(&[node("/dev/dri/renderD128", true)], &[]);
        let closed = with(&[node("/dev/dri/renderD128", false)], &[]);
        let none = Facts::default();
        let libcuda = "Operation not permitted: Cannot load libcuda.so.1";
        for (backend, ability, said, facts, means, todo) in [
            (Backend::Nvidia, Ability::Device, libcuda, &none, "no NVIDIA card", "--gpus all"),
            (Backend::Nvidia, Ability::Device, libcuda, &card, "a library of its driver is not", "libcuda1"),
            (
                Backend::Nvidia,
                encode,
                "OpenEncodeSessionEx failed: out of memory (10)",
                &card,
                "sessions",
                "close other",
            ),
            (
                Backend::Nvidia,
                encode,
                "OpenEncodeSessionEx failed: unsupported device (2): No capable devices found",
                &card,
                "no encoder",
                "decoding stays on the card",
            ),
            (
                Backend::Nvidia,
                encode,
                "Driver does not support the required nvenc API version",
                &card,
                "older",
                "update",
            ),
            (
                Backend::Vaapi,
                Ability::Device,
                "Generic error in an external library",
                &none,
                "no render node",
                "--device",
            ),
            (
                Backend::Vaapi,
                Ability::Device,
                "Generic error",
                &closed,
                "may not open it",
                "usermod -aG render,video",
            ),
            (
                Backend::Vaapi,
                Ability::Device,
                "Failed to initialise VAAPI connection",
                &gpu,
                "no VAAPI driver",
                "mesa-va",
            ),
            (Backend::Vaapi, encode, "No usable encoding profile found", &gpu, "does not do it", "nothing"),
            (Backend::Qsv, Ability::Device, "MFX session: unsupported (-3)", &gpu, "no Intel GPU", "libmfx"),
            (Backend::VideoToolbox, Ability::Device, "Cannot allocate memory", &none, "not macOS", "nothing"),
            (Backend::Vaapi, encode, "killed by signal 11", &gpu, "crashed", "forbid = [\"vaapi\"]"),
            (Backend::Vaapi, encode, "no answer within 10 s", &gpu, "hangs", "forbid"),
            (
                Backend::Software,
                encode,
                "opening libx264: libav was built without it",
                &none,
                "does not contain",
                "full",
            ),
            (Backend::Vaapi, encode, "frame 4 is not an IDR", &gpu, "IDR where it is told", "update"),
        ] {
            let found = explain(backend, ability, said, facts);
            assert!(found.means.contains(means), "{backend} {said:?}: {found:?}");
            assert!(found.todo.contains(todo), "{backend} {said:?}: {found:?}");
        }
    }
}
