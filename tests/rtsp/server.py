#!/usr/bin/python3
"""An RTSP server for tests, by GStreamer's own library. Prints `ready PORT` once it listens.

usage: server.py PORT [USER:PASSWORD]
  /h264  H.264 with keyframes every second, and AAC    /h265  H.265 and AAC
  /pcmu  H.264 and G.711                               /gop5  H.264 with keyframes every five seconds and no sound
  /opus  H.264 and Opus                                /bframes  H.264 with B-frames
  /lossy H.264 of which one packet in fifty is missing
  /mjpeg JPEG pictures and G.726                       /sizes H.264 that goes from one size to another every five seconds
  /file  what RTSP_FILE names, an MP4 of H.264 and AAC /file-pcmu  the same with its sound as G.711
  /file-h265  what RTSP_FILE_H265 names, an MP4 of H.265 and AAC
"""
import os
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

Gst.init(None)

RAW = "video/x-raw,format=I420,width=320,height=240,framerate=25/1"
PICTURE = f"videotestsrc is-live=true ! {RAW}"
SOUND = "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2"


def x264(options="tune=zerolatency key-int-max=25"):
    return f"x264enc speed-preset=ultrafast bitrate=500 {options} ! video/x-h264,profile=main ! rtph264pay name=pay0 pt=96 config-interval=-1"


X265 = "x265enc speed-preset=ultrafast tune=zerolatency key-int-max=25 bitrate=500 ! rtph265pay name=pay0 pt=96 config-interval=-1"
AAC = "avenc_aac bitrate=96000 ! aacparse ! rtpmp4gpay name=pay1 pt=97"
MOUNTS = {
    "/h264": f"{PICTURE} ! {x264()} {SOUND} ! {AAC}",
    "/h265": f"{PICTURE} ! {X265} {SOUND} ! {AAC}",
    "/pcmu": f"{PICTURE} ! {x264()} audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay1 pt=0",
    "/gop5": f"{PICTURE} ! {x264('tune=zerolatency key-int-max=125')}",
    "/opus": f"{PICTURE} ! {x264()} {SOUND} ! opusenc ! rtpopuspay name=pay1 pt=98",
    "/bframes": f"{PICTURE} ! {x264('bframes=2 b-adapt=false key-int-max=25 rc-lookahead=0 sync-lookahead=0')} {SOUND} ! {AAC}",
    "/lossy": f"{PICTURE} ! {x264().replace(' name=pay0', '')} ! identity drop-probability=0.02 name=pay0",
    "/mjpeg": f"{PICTURE} ! jpegenc ! rtpjpegpay name=pay0 pt=26 audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! avenc_g726 bitrate=32000 ! rtpg726pay force-aal2=false name=pay1 pt=99",
}
SIZES = [(320, 240), (640, 480)]
SIZED = "/sizes"
MOUNTS[SIZED] = f"videotestsrc is-live=true ! videoscale ! capsfilter name=size caps={RAW} ! {x264()} {SOUND} ! {AAC}"


def of_file(location, codec, sound):
    return (
        f"filesrc location={location} ! qtdemux name=d d.video_0 ! queue ! {codec}parse ! "
        f"rtp{codec}pay name=pay0 pt=96 config-interval=-1 d.audio_0 ! queue ! aacparse ! {sound}"
    )


PCMU = "avdec_aac ! audioconvert ! audioresample ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay1 pt=0"
if os.environ.get("RTSP_FILE"):
    MOUNTS["/file"] = of_file(os.environ["RTSP_FILE"], "h264", "rtpmp4gpay name=pay1 pt=97")
    MOUNTS["/file-pcmu"] = of_file(os.environ["RTSP_FILE"], "h264", PCMU)
if os.environ.get("RTSP_FILE_H265"):
    MOUNTS["/file-h265"] = of_file(os.environ["RTSP_FILE_H265"], "h265", "rtpmp4gpay name=pay1 pt=97")


def change_size(_, media):
    size = media.get_element().get_by_name("size")

    def change(turn):
        width, height = SIZES[turn % len(SIZES)]
        size.set_property("caps", Gst.Caps.from_string(f"video/x-raw,format=I420,width={width},height={height},framerate=25/1"))
        GLib.timeout_add_seconds(5, change, turn + 1)
        return False

    GLib.timeout_add_seconds(5, change, 1)


def main():
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    credentials = sys.argv[2] if len(sys.argv) > 2 else None
    if credentials:
        user, password = credentials.split(":", 1)
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_digest(user, password, token)
        server.set_auth(auth)
    for path, launch in MOUNTS.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( {launch} )")
        factory.set_shared(True)
        if path == SIZED:
            factory.connect("media-configure", change_size)
        if credentials:
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_permission_for_role("viewer", "media.factory.access", True)
            permissions.add_permission_for_role("viewer", "media.factory.construct", True)
            factory.set_permissions(permissions)
        server.get_mount_points().add_factory(path, factory)
    if server.attach(None) == 0:
        sys.exit(f"port {sys.argv[1]} is in use")
    print("ready", sys.argv[1], flush=True)
    GLib.MainLoop().run()


main()
