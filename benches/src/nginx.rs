//! nginx as the peer: for static files, and for RTMP in and HLS out. One worker, configured as its users do for load.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::command;
use crate::error::{Error, doing};
use crate::process::Program;
use crate::scratch::{Scratch, free_address};

const RTMP_MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
/// The file that is served as a playlist.
pub const PLAYLIST: &str = "media.m3u8";
/// The file that is served as a part.
pub const PART: &str = "part.m4s";
const INSTALL: &str = "install it: apt-get install nginx libnginx-mod-rtmp";

/// A running nginx on a port and in a directory of its own.
#[derive(Debug)]
pub struct Nginx {
    /// The process.
    pub program: Program,
    /// Where it listens.
    pub address: SocketAddr,
    scratch: Scratch,
}

impl Nginx {
    /// Serves files of a directory of its own, each kind the way that costs nginx least here: large files over
    /// HTTP/1.1 by sendfile with their head in one packet; playlists, and everything over HTTP/2 (whose frames are
    /// 8 KiB by default), from buffers. open_file_cache on, access log off. HTTP/2 with a certificate and its key,
    /// HTTP/1.1 without.
    pub fn files(core: Option<usize>, tls: Option<&(PathBuf, PathBuf)>) -> Result<Self, Error> {
        let address = free_address()?;
        let (scratch, dir) = directory()?;
        let sendfile = if tls.is_some() { "off" } else { "on" };
        let (http2, tls) = match tls {
            None => ("", String::new()),
            Some((cert, key)) => {
                let (cert, key) = (cert.display(), key.display());
                (
                    " ssl http2",
                    format!("ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;"),
                )
            }
        };
        let config = format!(
            "http {{
  sendfile {sendfile}; tcp_nopush {sendfile}; tcp_nodelay on; access_log off; open_file_cache max=64;
  output_buffers 2 128k; http2_chunk_size 128k; keepalive_requests 100000000; default_type video/mp4;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
  uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  server {{
    listen {address}{http2}; root {dir}/www; {tls}
    location = /{PLAYLIST} {{ sendfile off; tcp_nopush off; }}
  }}
}}
"
        );
        Self::start(scratch, address, &config, core)
    }

    /// Takes RTMP and writes HLS (TS segments of a second, ten of them) into a directory of its own.
    pub fn rtmp() -> Result<Self, Error> {
        let address = free_address()?;
        let (scratch, dir) = directory()?;
        let config = format!(
            "rtmp {{ server {{ listen {address}; application live {{
  live on; access_log off; hls on; hls_path {dir}/www; hls_fragment 1s; hls_playlist_length 10s; }} }} }}
"
        );
        Self::start(scratch, address, &format!("load_module {RTMP_MODULE};\n{config}"), None)
    }

    fn start(scratch: Scratch, address: SocketAddr, body: &str, core: Option<usize>) -> Result<Self, Error> {
        let dir = scratch.path().to_owned();
        // Modules must be loaded before anything else; as root, workers stay root, so that they may read the directory.
        let (module, body) = match body.split_once('\n') {
            Some((first, rest)) if first.starts_with("load_module") => (first, rest),
            _ => ("", body),
        };
        let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
        let config = format!(
            "{module}\n{user} daemon off; worker_processes 1; pid {}/pid; error_log {}/errors warn;
events {{ worker_connections 8192; }}\n{body}",
            dir.display(),
            dir.display()
        );
        scratch.write("nginx.conf", config.as_bytes())?;
        let mut command = command::on(core, "nginx");
        command.arg("-p").arg(&dir).arg("-e").arg(dir.join("errors")).arg("-c").arg(dir.join("nginx.conf"));
        let program = Program::start(command, &dir.join("log"), INSTALL)?;
        Ok(Self { program, address, scratch })
    }

    /// Puts a file where it serves it from.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        // A new file under an old name would otherwise be met in its cache with the old one's size.
        let (file, new) = (self.www().join(name), self.www().join("new"));
        let write = std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, &file));
        write.map_err(doing(format!("write {}", file.display())))
    }

    /// Where it serves files from and writes HLS to.
    pub fn www(&self) -> PathBuf {
        self.scratch.path().join("www")
    }

    /// Waits until it listens.
    pub async fn ready(&mut self) -> Result<(), Error> {
        for _ in 0..500 {
            self.program.check()?;
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Err(Error::Ended { program: "nginx (does not listen)".into(), log: self.program.last_words() })
    }
}

fn directory() -> Result<(Scratch, String), Error> {
    let scratch = Scratch::new("nginx")?;
    let www = scratch.path().join("www");
    std::fs::create_dir_all(&www).map_err(doing(format!("make {}", www.display())))?;
    let dir = Path::display(scratch.path()).to_string();
    Ok((scratch, dir))
}
