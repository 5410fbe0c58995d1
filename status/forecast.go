package status

// Forecast says what would be served after failures, by the same decision
// that each node makes, with every known endpoint assumed to answer unless it
// failed. It is the answer of vipilot simulate.
type Forecast struct {
	Failed   []string                   `json:"failed"` // "node lb1", "host app1", "peer edge"
	VIPs     map[string]VIPForecast     `json:"vips"`
	Services map[string]ServiceForecast `json:"services"`
	// Nodes and Hosts that are left carry these shares of the traffic, each
	// service counted alike and spread by the weights of its endpoints.
	Nodes map[string]Share `json:"nodes"`
	Hosts map[string]Share `json:"hosts"`
	Lost  []string         `json:"lost"` // services that were served before and are not now, sorted
}

// VIPForecast is where one VIP lives.
type VIPForecast struct {
	HA      string   `json:"ha"`
	Holders []string `json:"holders"` // nodes that carry the addresses
	Before  []string `json:"before"`  // those that do without the failures
	// Announced has, for each node that announces the VIP, who hears of it, and
	// Prefixes what they hear.
	Announced map[string][]string `json:"announced"`
	Prefixes  map[string][]string `json:"prefixes"`
	Reason    string              `json:"reason"` // why clients cannot reach it, "" when they can
}

// ServiceForecast is who is left to serve.
type ServiceForecast struct {
	VIP       string   `json:"vip"`
	Endpoints []string `json:"endpoints"` // those left
	Of        int      `json:"of"`        // how many there are without the failures
	Serves    bool     `json:"serves"`
	Reason    string   `json:"reason"` // why not
}

// Share is a part of all traffic, 0..1.
type Share struct {
	Share  float64 `json:"share"`
	Before float64 `json:"before"`
}

// Survey is the forecast of every single failure: vipilot simulate --all.
type Survey struct {
	Failures []SingleFailure `json:"failures"`
	Lossy    int             `json:"lossy"` // of them, those that lose a service
}

// SingleFailure is what one failure costs.
type SingleFailure struct {
	Failed string   `json:"failed"`
	Lost   []string `json:"lost"`
	Moved  []string `json:"moved"` // VIPs that go to another node
}
