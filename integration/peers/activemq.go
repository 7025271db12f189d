package peers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

const activemqJar = "/usr/share/activemq/bin/activemq.jar"

// activemqConfig takes the directory and the port. Queues below priority.* order by priority: ActiveMQ asks for a policy.
// Expired messages are looked for each second instead of every 30.
const activemqConfig = `<beans xmlns="http://www.springframework.org/schema/beans" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans.xsd
  http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="peer" dataDirectory="%[1]s" useJmx="false"
    schedulerSupport="true" useShutdownHook="false">
    <destinationPolicy><policyMap><policyEntries>
      <policyEntry queue=">" expireMessagesPeriod="1000"/>
      <policyEntry queue="priority.>" prioritizedMessages="true"/>
    </policyEntries></policyMap></destinationPolicy>
    <persistenceAdapter><kahaDB directory="%[1]s/kahadb"/></persistenceAdapter>
    <transportConnectors><transportConnector uri="stomp://127.0.0.1:%[2]d"/></transportConnectors>
  </broker>
</beans>
`

// A short run is up soonest so, in little memory.
var briefJava = []string{"-Xmx256m", "-XX:TieredStopAtLevel=1"}

// StartActiveMQ runs Debian's ActiveMQ with its data in dir and returns when it accepts connections. Its Java machine gets
// the flags java, or those for a short run.
func StartActiveMQ(ctx context.Context, dir string, java ...string) (*Peer, error) {
	if len(java) == 0 {
		java = briefJava
	}
	if _, err := os.Stat(activemqJar); err != nil {
		return nil, fmt.Errorf("ActiveMQ is missing, apt-get install activemq: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "activemq.xml")
	if err := os.WriteFile(config, fmt.Appendf(nil, activemqConfig, dir, port), 0o600); err != nil {
		return nil, err
	}
	p := &Peer{Name: "activemq", Addr: loopback(port), Log: filepath.Join(dir, "log")}
	p.start = func(ctx context.Context) error {
		err := p.run(os.Environ(), "java", append(slices.Clone(java), "-Djava.io.tmpdir="+dir,
			"-Dactivemq.home=/usr/share/activemq", "-Dactivemq.base="+dir, "-Dactivemq.conf="+dir, "-Dactivemq.data="+dir,
			"-jar", activemqJar, "start", "xbean:file:"+config)...)
		if err != nil {
			return err
		}
		return p.listens(ctx, p.Addr)
	}
	return p, p.start(ctx)
}
