package status

import "fmt"

// tone: a neighbor on a broadcast network that is no designated router stays
// in 2-way, which is as it should be.
func (n Neighbor) tone() tone {
	if n.State == "full" || n.State == "2-way" {
		return good
	}
	return warn
}

func (n Neighbor) standing() string {
	text := fmt.Sprintf("OSPFv%d", n.Version)
	if n.BFD != "" {
		text += ", BFD " + n.BFD
	}
	return text
}

// neighborStates are what events tell of neighbors.
func neighborStates(f *FRR) map[string]string {
	states := make(map[string]string)
	if f != nil {
		for name, n := range f.Neighbors {
			states[name] = n.State
		}
	}
	return states
}

// frrStates are what events tell of FRR and its daemons.
func frrStates(f *FRR) map[string]string {
	states := make(map[string]string)
	if f != nil {
		states["frr"] = f.State
		for name, pid := range f.Daemons {
			states["frr "+name+" pid"] = number(pid)
		}
	}
	return states
}
