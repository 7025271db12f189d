// Package config holds every setting of a broker in one typed value, [Config].
//
// A setting has one key, such as stomp.listen, under which it is found everywhere:
//
//	defaults  <  YAML file  <  environment      <  flags
//	Default()    stomp:        BATON_STOMP_        --listen
//	               listen:     LISTEN
//
// What stands further right wins. [Load] reads them all and answers with a configuration that is known to be good, or
// with [Problems]: everything that is wrong, at once, each with its key and the place it came from.
//
// Invariants:
//
//   - Every key has a default, and config/baton.yml documents every key with it; a test compares the two.
//   - A key, file entry or BATON_ variable that means nothing is a problem, never ignored.
//   - viper is imported here and nowhere else.
//
// Example:
//
//	cfg, err := config.Load(config.Sources{File: "baton.yml", Env: os.Environ()})
//	if err != nil {
//		return err // a config.Problems, one line each
//	}
//	fmt.Println(cfg.STOMP.Listen)
package config
