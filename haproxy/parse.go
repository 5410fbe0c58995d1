package haproxy

import (
	"sync"

	parser "github.com/haproxytech/client-native/v6/config-parser"
	"github.com/haproxytech/client-native/v6/config-parser/options"
)

// parsing lets one text be read at a time: config-parser keeps the name of the
// last defaults section in a variable of the package.
var parsing sync.Mutex

// parse has config-parser read a configuration.
func parse(text string) (parser.Parser, error) {
	parsing.Lock()
	defer parsing.Unlock()
	return parser.New(options.String(text), options.UseV2HTTPCheck)
}
