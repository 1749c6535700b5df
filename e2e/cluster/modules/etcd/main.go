// Command etcd is the etcd server alone, without the client tools that its own module tree carries.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
