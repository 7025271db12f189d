package failover

// A simMutant is a bug on purpose. The zero simMutant is none.
type simMutant struct {
	trimEarly bool
	bug       func() simBug // of a standby's stream
}

func (x *simMutant) stream() simBug {
	if x.bug == nil {
		return simBug{}
	}
	return x.bug()
}
