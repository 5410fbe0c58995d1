package importer

import "strings"

// ownSections are sections that vipilot writes itself or has no word for.
var ownSections = map[string]string{
	"global":      "vipilot writes its own global section; add single lines under haproxy.global",
	"peers":       "nodes share stick tables by themselves (haproxy.peers_port)",
	"resolvers":   "names of servers are followed through the machine's own name servers",
	"mailers":     "vipilot sends no mail; follow GET /v1/events or the metrics",
	"cache":       "vipilot does not cache",
	"program":     "vipilot starts no programs",
	"http-errors": "see services.<name>.http.error_pages",
	"ring":        "requests are not logged",
	"log-forward": "vipilot does not forward logs",
	"fcgi-app":    "vipilot speaks HTTP to its servers, not FastCGI",
	"crt-store":   "see services.<name>.http.tls",
	"traces":      "see haproxy.global", "log-profile": "requests are not logged", "acme": "see the acme section",
	"userlist": "passwords in the clear are not carried over; hashed ones are, where http-request auth asks for them",
}

// reasons say what becomes of a line, by its first words; "" = nothing is
// lost, vipilot does the same by itself.
var reasons = map[string]string{
	"log": "requests are not logged; see the metrics", "option httplog": "requests are not logged", "option tcplog": "requests are not logged",
	"option dontlognull": "", "option forwardfor": "", "option redispatch": "", "option http-server-close": "connections to servers are kept and shared safely",
	"option http-keep-alive": "", "option dontlog-normal": "", "option log-health-checks": "", "option tcpka": "see haproxy.defaults", "option httpclose": "connections are kept",
	"timeout http-request": "is 10s", "timeout http-keep-alive": "is 60s", "timeout check": "is a health check's interval", "timeout queue": "",
	"timeout connect": "", "timeout client": "", "timeout server": "", "timeout tunnel": "", "timeout client-fin": "see haproxy.defaults",
	"mode": "", "balance": "", "retries": "", "maxconn": "vipilot derives it from the limit of open files", "errorfile": "see services.<name>.http.error_pages",
	"stats": "vipilot has a page and metrics of its own on --listen", "monitor-uri": "see GET /readyz of the node", "unique-id-format": "has no counterpart", "capture": "requests are not logged",
	"use_backend": "", "default_backend": "", "server": "", "bind": "", "acl": "", "default-server": "", "description": "", "option http-use-htx": "", "option splice-auto": "see haproxy.defaults",
	"http-request set-header X-Forwarded-Proto": "", "http-request set-header X-Forwarded-For": "", "http-request add-header X-Forwarded-Proto": "", "http-request set-header X-Forwarded-Port": "X-Forwarded-Port is not set",
	"http-request set-header X-Real-IP": "X-Forwarded-For tells the client's address", "reqadd": "is of HAProxy 1.x", "rspadd": "is of HAProxy 1.x", "stick-table": "tables other than `type ip` for `stick on src` have no counterpart; for limits see http.request.rate_limit",
	"tcp-request inspect-delay": "", "tcp-request content accept": "", "compression algo": "", "compression type": "", "http-reuse": "connections to servers are shared safely",
	"userlist": "", "no log": "", "http-request use-service prometheus-exporter": "vipilot has metrics of its own, at /metrics of --listen",
	"stats uri": "vipilot has a page of its own on --listen; requests for this path go where the other rules send them",
}

// lost is why a line is not carried over; "" = it was, or nothing is lost.
func lost(s *section, l *line) string {
	if l.used {
		return ""
	}
	text := l.text()
	best, why := -1, "has no counterpart; a line of HAProxy's own language may stand in services.<name>.raw or haproxy.defaults"
	for begin, reason := range reasons {
		if (text == begin || strings.HasPrefix(text, begin+" ")) && len(begin) > best {
			best, why = len(begin), reason
		}
	}
	if s.kind == "backend" && best < 0 {
		why = "has no counterpart; a line of HAProxy's own language may stand in services.<name>.raw"
	}
	return why
}
