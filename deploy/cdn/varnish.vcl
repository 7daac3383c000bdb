# Varnish as a cache before edges (docs/cdn.md says why).
vcl 4.1;

import std;

backend aqueduct {
    .host = "127.0.0.1";
    .port = "8080";
    # The edge holds a request for 8 s at most.
    .first_byte_timeout = 12s;
    .between_bytes_timeout = 5s;
    .max_connections = 2000;
}

sub vcl_recv {
    if (req.method != "GET" && req.method != "HEAD") {
        return (pass);
    }
    # Each player's own: where to go, and protected streams in the path form.
    if (req.url ~ "^[^?]*/steering\.json($|\?)" || req.url ~ "^/t/") {
        return (pass);
    }
    # Only these three belong to a playlist's identity.
    set req.http.X-Directives = regsub(req.url, "^[^?]*\??", "");
    set req.http.X-Msn = regsub(req.http.X-Directives, "^(.*&)?(_HLS_msn=[0-9]+)(&.*)?$", "\2");
    set req.http.X-Part = regsub(req.http.X-Directives, "^(.*&)?(_HLS_part=[0-9]+)(&.*)?$", "\2");
    set req.http.X-Skip = regsub(req.http.X-Directives, "^(.*&)?(_HLS_skip=[A-Za-z0-9]+)(&.*)?$", "\2");
    set req.url = std.querysort(req.url);
    # A player's cookies and tokens are nobody else's.
    unset req.http.Cookie;
    return (hash);
}

sub vcl_hash {
    hash_data(regsub(req.url, "\?.*$", ""));
    if (req.http.X-Msn ~ "^_HLS_msn=") { hash_data(req.http.X-Msn); }
    if (req.http.X-Part ~ "^_HLS_part=") { hash_data(req.http.X-Part); }
    if (req.http.X-Skip ~ "^_HLS_skip=") { hash_data(req.http.X-Skip); }
    return (lookup);
}

sub vcl_backend_response {
    # How long is the edge's to say. An old playlist served as the newest stalls every player behind it.
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    if (beresp.http.Cache-Control ~ "no-store|no-cache|private") {
        # Only for a moment: otherwise one refusal would make all who come later wait apart from each other.
        set beresp.uncacheable = true;
        set beresp.ttl = 1s;
    }
    # Parts are sent on as they come.
    set beresp.do_stream = true;
}

sub vcl_deliver {
    unset resp.http.X-Directives;
    set resp.http.X-Cache = obj.hits;
}
