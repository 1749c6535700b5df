# shellcheck shell=bash
# Certificates and kubeconfigs of one instance; sourced by up.sh and user.sh.

PKI="$STATE/pki"

new_ca() {
  local file="$PKI/$1"
  if [[ -f "$file.crt" ]]; then return 0; fi
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=$2" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$file.key" -out "$file.crt.new" 2>/dev/null
  mv "$file.crt.new" "$file.crt"
}

# issue FILE CA SUBJECT [SUBJECT-ALT-NAMES]: a key and a certificate for client and server use, unless it is there.
issue() {
  local file="$1" ca="$PKI/$2" subject="$3" names="${4:-}" extensions
  if [[ -f "$file.crt" ]]; then return 0; fi
  extensions="basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature,keyEncipherment
extendedKeyUsage=clientAuth,serverAuth"
  if [[ -n "$names" ]]; then extensions+=$'\n'"subjectAltName=$names"; fi
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -utf8 -subj "$subject" \
    -keyout "$file.key" -out "$file.csr" 2>/dev/null || die "openssl could not make a request for the subject $subject"
  openssl x509 -req -in "$file.csr" -CA "$ca.crt" -CAkey "$ca.key" -set_serial "0x$(openssl rand -hex 8)" -days 3650 \
    -extfile <(printf '%s\n' "$extensions") -out "$file.crt.new" 2>/dev/null || die "openssl could not sign $subject"
  rm -f "$file.csr"
  mv "$file.crt.new" "$file.crt"
}

# write_kubeconfig FILE CERTIFICATE-BASE SERVER CONTEXT
write_kubeconfig() {
  local file="$1" cert="$2" server="$3" context="$4"
  (
    umask 077
    cat >"$file.new" <<EOF
apiVersion: v1
kind: Config
clusters:
  - name: $NAME
    cluster:
      server: $server
      certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")
users:
  - name: $context
    user:
      client-certificate-data: $(base64 -w0 "$cert.crt")
      client-key-data: $(base64 -w0 "$cert.key")
contexts:
  - name: $context
    context:
      cluster: $NAME
      user: $context
current-context: $context
EOF
  )
  mv "$file.new" "$file"
}

make_pki() {
  local server="https://$NODE_IP:6443" inside="https://127.0.0.1:6443" component
  mkdir -p "$PKI"
  chmod 700 "$PKI"
  new_ca ca "launchway-$NAME"
  new_ca front-proxy-ca "launchway-$NAME-front-proxy"
  if [[ ! -f "$PKI/service-account.pub" ]]; then
    openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/service-account.key"
    openssl ec -in "$PKI/service-account.key" -pubout -out "$PKI/service-account.pub" 2>/dev/null
  fi
  issue "$PKI/apiserver" ca "/CN=kube-apiserver" \
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:$NODE_IP,IP:$API_SERVICE_IP"
  issue "$PKI/apiserver-kubelet-client" ca "/CN=kube-apiserver-kubelet-client"
  issue "$PKI/front-proxy-client" front-proxy-ca "/CN=front-proxy-client"
  issue "$PKI/kubelet" ca "/O=system:nodes/CN=system:node:$NODE_NAME" "DNS:$NODE_NAME,IP:$NODE_IP"
  issue "$PKI/admin" ca "/O=system:masters/CN=admin"
  write_kubeconfig "$ADMIN_KUBECONFIG" "$PKI/admin" "$server" "launchway-$NAME"
  for component in kube-controller-manager kube-scheduler kube-proxy; do
    issue "$PKI/$component" ca "/CN=system:$component"
    write_kubeconfig "$STATE/config/$component.kubeconfig" "$PKI/$component" "$inside" "$component"
  done
  write_kubeconfig "$STATE/config/kubelet.kubeconfig" "$PKI/kubelet" "$inside" kubelet
}
