package config

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	realmForm = regexp.MustCompile(`^[A-Za-z0-9 ._-]{1,64}$`)
	userForm  = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)
	shaForm   = regexp.MustCompile(`^\$[56]\$(?:rounds=([0-9]{1,9})\$)?[A-Za-z0-9./]{1,16}\$[A-Za-z0-9./]{43,86}$`)
	bcForm    = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[A-Za-z0-9./]{53}$`)
)

// HAProxy hashes the password of every single request, and serves nobody else
// on that thread meanwhile: this much is a few milliseconds.
const (
	mostRounds = 10_000
	mostCost   = 8
)

// readBasicAuth reads services.<name>.http.basic_auth.
func readBasicAuth(v value) *BasicAuth {
	a := BasicAuth{Realm: "Restricted"}
	object([]value{v}, keys{
		"users_file": func(f value) { a.Users = readUsers(f) },
		"realm": into(&a.Realm, checked("a realm", func(text string) *refusal {
			if !realmForm.MatchString(text) {
				return &refusal{"is not a realm", "1 to 64 letters, digits, spaces and ._-"}
			}
			return nil
		})),
	}, "users_file")
	return &a
}

// readUsers reads the lines of a htpasswd file. No message shows a hash.
func readUsers(v value) []User {
	data, ok := asFile(v)
	if !ok {
		return nil
	}
	var users []User
	seen := make(map[string]int)
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimRight(line, "\r")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, hash, _ := strings.Cut(line, ":")
		if !userForm.MatchString(name) {
			v.faultf("line %d of the file does not begin with the name of a user and a colon", i+1).Hint = "names are 1 to 64 letters, digits and ._@-"
			continue
		}
		if first, twice := seen[name]; twice {
			v.faultf("line %d of the file has the user %q again, first in line %d", i+1, name, first)
			continue
		}
		seen[name] = i + 1
		if why := checkHash(hash); why != nil {
			v.faultf("line %d of the file: the hash of user %q %w", i+1, name, why).Hint = why.hint
			continue
		}
		users = append(users, User{name, Secret(hash)})
	}
	if len(seen) == 0 {
		v.faultf("there is no user in the file")
	}
	slices.SortFunc(users, func(a, b User) int { return cmp.Compare(a.Name, b.Name) })
	return users
}

// checkHash takes what crypt(3) knows wherever HAProxy runs, and what it can
// compute for every request.
func checkHash(hash string) *refusal {
	const how = "make one with: openssl passwd -6, or htpasswd -nB"
	if m := shaForm.FindStringSubmatch(hash); m != nil {
		if rounds, _ := strconv.Atoi(m[1]); rounds > mostRounds {
			return &refusal{"takes more than 10000 rounds, for every request", how}
		}
		return nil
	}
	if m := bcForm.FindStringSubmatch(hash); m != nil {
		if cost, _ := strconv.Atoi(m[1]); cost > mostCost || cost < 4 {
			return &refusal{"has a cost above 8, for every request", "make one with: htpasswd -nB -C 8"}
		}
		return nil
	}
	kind := "is of a kind that is not taken"
	for prefix, name := range map[string]string{"$apr1$": "Apache's MD5", "{SHA}": "plain SHA-1", "$1$": "MD5", "$y$": "yescrypt", "$7$": "scrypt"} {
		if strings.HasPrefix(hash, prefix) {
			kind = "is " + name + ", which is too weak, too slow or unknown to HAProxy"
		}
	}
	return &refusal{kind, how}
}
