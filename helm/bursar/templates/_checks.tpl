{{/*
What values mean together, which their schema cannot say. Every mistake is told at once, each with the value to change.
Templates other than this one may rely on nothing of it: it is read with one of them, whichever comes first.
*/}}
{{- define "bursar.checks" -}}
{{- $mistakes := concat
      (include "bursar.checks.config" . | fromJsonArray)
      (include "bursar.checks.running" . | fromJsonArray)
      (include "bursar.checks.callers" . | fromJsonArray)
      (include "bursar.checks.redis" . | fromJsonArray)
      (include "bursar.checks.keys" . | fromJsonArray)
      (include "bursar.checks.network" . | fromJsonArray)
      (include "bursar.checks.trial" . | fromJsonArray) -}}
{{- if $mistakes -}}
{{- fail (printf "\n%d mistake(s) in the values:\n  - %s\n" (len $mistakes) (join "\n  - " $mistakes)) -}}
{{- end -}}
{{- end }}

{{/* Each takes a list of (list WRONG TEXT) and gives the texts of what is wrong. */}}
{{- define "bursar.wrong" -}}
{{- $texts := list -}}
{{- range . -}}
{{- if index . 0 -}}{{- $texts = append $texts (index . 1) -}}{{- end -}}
{{- end -}}
{{- toJson $texts -}}
{{- end }}

{{/* Keys of bursar.toml that follow from the chart. */}}
{{- define "bursar.checks.config" -}}
{{- $wrong := list -}}
{{- range $key, $instead := include "bursar.decided" . | fromJson -}}
{{- $at := $.Values.config -}}
{{- range initial (splitList "." $key) -}}
{{- $at = ternary (get $at .) dict (and (kindIs "map" $at) (kindIs "map" (get $at .))) -}}
{{- end -}}
{{- $wrong = append $wrong (list (hasKey $at (last (splitList "." $key)))
      (printf "config.%s follows from the chart: remove it, and use %s" $key $instead)) -}}
{{- end -}}
{{- $texts := dict "policies.files" .Values.policies.files "policies.shadow" .Values.policies.shadow "providers.files" .Values.providers.files
      "callers.tokens.issuers" .Values.callers.tokens.issuers -}}
{{- range $value, $files := $texts -}}
{{- $wrong = append $wrong (list (contains "PRIVATE KEY-----" (values $files | join "\n"))
      (printf "%s holds a private key, and would be a ConfigMap that many may read: take it out, and use a Secret" $value)) -}}
{{- end -}}
{{- include "bursar.wrong" $wrong -}}
{{- end }}

{{- define "bursar.checks.running" -}}
{{- $v := .Values -}}
{{- $storage := $v.audit.storage -}}
{{- $second := dig "audit" "second" "none" $v.config -}}
{{- include "bursar.wrong" (list
  (list (not $v.image.repository)
    "image.repository is empty: name the image that you built (docs/container.md), without its tag")
  (list (not $storage.kind)
    "audit.storage.kind is empty: choose what becomes of the audit trail: claim, perReplica or emptyDir")
  (list (and (eq $storage.kind "emptyDir") (eq $second "none"))
    "audit.storage.kind is emptyDir, so that the audit trail goes with its pod: set config.audit.second to stdout and keep what the brokers print, or choose claim or perReplica")
  (list (and $storage.existingClaim (ne $storage.kind "claim"))
    "audit.storage.existingClaim has no effect: audit.storage.kind is not claim")
  (list (and $v.autoscaling.enabled (gt (int64 $v.autoscaling.minReplicas) (int64 $v.autoscaling.maxReplicas)))
    "autoscaling.minReplicas is more than autoscaling.maxReplicas")
  (list (and $v.consent.enabled (not (dig "authorization" "public_url" "" $v.config)))
    "consent.enabled needs config.authorization.public_url: where browsers reach the callback")
  (list (and (not $v.consent.enabled) (dig "authorization" "public_url" "" $v.config))
    "config.authorization.public_url has no effect: set consent.enabled")
  (list (and $v.policies.files $v.policies.configMap)
    "policies.files and policies.configMap are both set: keep one")
  (list (not (or $v.policies.files $v.policies.configMap))
    "policies.files is empty: say what callers may do (docs/policies.md), or name a ConfigMap in policies.configMap")
  (list (and $v.providers.files $v.providers.configMap)
    "providers.files and providers.configMap are both set: keep one")
  (list (and $v.tracing.caSecret (not (hasPrefix "https://" (dig "tracing" "otlp_endpoint" "" $v.config))))
    "tracing.caSecret has no effect: config.tracing.otlp_endpoint is no https address")
  (list (and $v.externalSecrets.secrets (not $v.externalSecrets.storeRef.name))
    "externalSecrets.secrets needs externalSecrets.storeRef.name: where the secrets are")
) -}}
{{- end }}

{{- define "bursar.checks.callers" -}}
{{- $v := .Values -}}
{{- $c := $v.callers -}}
{{- $certificates := or (ne $c.spiffe.bundles "none") $c.certificates.configMap -}}
{{- $tokens := or $c.tokens.cluster.enabled $c.tokens.issuers -}}
{{- $optional := eq (dig "tls" "clients" "required" $v.config) "optional" -}}
{{- $names := dig "identity" "dns" "names" "" $v.config -}}
{{- include "bursar.wrong" (list
  (list (and (eq $v.tls.source "secret") (not $v.tls.secretName))
    "tls.secretName is empty: name the Secret with the server's certificate, or choose another tls.source")
  (list (and (eq $v.tls.source "certManager") (not $v.tls.certManager.issuerRef.name))
    "tls.certManager.issuerRef.name is empty: name the issuer")
  (list (and (has $v.tls.source (list "spiffe" "generated")) $v.tls.secretName)
    (printf "tls.secretName has no effect: tls.source is %s" $v.tls.source))
  (list (not (or $certificates $tokens))
    "callers: nobody could call: set callers.spiffe.bundles, callers.certificates.configMap, callers.tokens.cluster.enabled or callers.tokens.issuers")
  (list (and $tokens (not $certificates) (not $optional))
    "config.tls.clients is required, and nothing says whose certificates count: set config.tls.clients to optional, so that a token is enough")
  (list (and $optional (not $tokens))
    "config.tls.clients is optional, and no tokens are taken: callers who prove nothing would be let in. Remove it, or set callers.tokens")
  (list (and (eq $c.spiffe.bundles "configMap") (not $c.spiffe.configMap))
    "callers.spiffe.configMap is empty: name the ConfigMap with the bundles")
  (list (and $c.spiffe.configMap (ne $c.spiffe.bundles "configMap"))
    "callers.spiffe.configMap has no effect: callers.spiffe.bundles is not configMap")
  (list (and $c.certificates.configMap (not $names))
    "callers.certificates.configMap needs config.identity.dns.names: the names that are recognised")
  (list (and $names (not $c.certificates.configMap))
    "config.identity.dns.names needs callers.certificates.configMap: the authorities that vouch for them")
  (list (and $c.tokens.cluster.review (not $c.tokens.cluster.enabled))
    "callers.tokens.cluster.review has no effect: callers.tokens.cluster.enabled is false")
  (list (and $c.tokens.cluster.enabled (hasKey $c.tokens.issuers "cluster.toml"))
    "callers.tokens.issuers has a file cluster.toml, which callers.tokens.cluster writes: give it another name")
) -}}
{{- end }}

{{- define "bursar.checks.redis" -}}
{{- $v := .Values -}}
{{- $r := dig "store" "redis" dict $v.config -}}
{{- $tls := eq (dig "tls" "off" $r) "on" -}}
{{- $there := or (dig "url" "" $r) (dig "nodes" "" $r) -}}
{{- $wrong := list
  (list (not (or $v.redis.bundled.enabled $there))
    "config.store.redis: say where Redis is: url, or topology and nodes (docs/redis.md); for a trial set redis.bundled.enabled")
  (list (and $tls $v.redis.bundled.enabled)
    "config.store.redis.tls is on, and redis.bundled has no TLS")
  (list (and $v.redis.passwordSecret.name $v.redis.bundled.enabled)
    "redis.passwordSecret.name has no effect: redis.bundled has a password of its own")
  (list (and (not $v.redis.passwordSecret.name) (not $v.redis.bundled.enabled) (or (dig "username" "" $r) (dig "sentinel_username" "" $r)))
    "redis.passwordSecret.name is empty, and config.store.redis names a user: name the Secret with the password")
  (list (and (dig "sentinel_username" "" $r) (not $v.redis.passwordSecret.sentinelKey))
    "redis.passwordSecret.sentinelKey is empty, and config.store.redis.sentinel_username is set: name the key with the password")
  (list (and (not $tls) (or $v.redis.tls.caSecret $v.redis.tls.clientSecret))
    "redis.tls has no effect: set config.store.redis.tls to on")
-}}
{{- range list "url" "topology" "nodes" "username" "sentinel_master" -}}
{{- $wrong = append $wrong (list (and $v.redis.bundled.enabled (hasKey $r .))
      (printf "config.store.redis.%s and redis.bundled.enabled: keep one" .)) -}}
{{- end -}}
{{- if $v.networkPolicy.enabled -}}
{{- $ports := $v.networkPolicy.egress.redis.ports -}}
{{- range concat (dig "nodes" "" $r | splitList " ") (list (dig "url" "" $r)) -}}
{{- $port := regexReplaceAll "/[0-9]*$" . "" | regexFind ":[0-9]+$" | trimPrefix ":" -}}
{{- $known := false -}}
{{- range $ports -}}{{- if eq (toString (int64 .)) $port -}}{{- $known = true -}}{{- end -}}{{- end -}}
{{- $wrong = append $wrong (list (and $port (not $known))
      (printf "networkPolicy.egress.redis.ports lacks %s, where config.store.redis says that Redis is" $port)) -}}
{{- end -}}
{{- end -}}
{{- include "bursar.wrong" $wrong -}}
{{- end }}

{{- define "bursar.checks.keys" -}}
{{- $v := .Values -}}
{{- $k := $v.keys -}}
{{- $kind := dig "keys" "kind" "file" $v.config -}}
{{- $before := dig "keys" "previous" "kind" "none" $v.config -}}
{{- $plugin := or (eq $kind "kms_plugin") (eq $before "kms_plugin") -}}
{{- $auth := dig "keys" "transit" "auth" "token_file" $v.config -}}
{{- $authBefore := dig "keys" "previous" "transit" "auth" "token_file" $v.config -}}
{{- $keysets := list -}}
{{- if $k.keyset.secretName -}}{{- $keysets = append $keysets "Secret" -}}{{- end -}}
{{- if $k.keyset.csi.secretProviderClass -}}{{- $keysets = append $keysets "CSI" -}}{{- end -}}
{{- include "bursar.wrong" (list
  (list (and (eq $kind "file") (not $keysets))
    "keys.keyset.secretName is empty: make a keyset (`bursar keys generate`) and name the Secret with it, or keys.keyset.csi, or set config.keys.kind")
  (list (gt (len $keysets) 1)
    "keys.keyset.secretName and keys.keyset.csi.secretProviderClass are both set: keep one")
  (list (and $keysets (ne $kind "file"))
    (printf "keys.keyset has no effect: config.keys.kind is %s" $kind))
  (list (and $plugin (not (or $k.kmsPlugin.sidecar.image $k.kmsPlugin.hostPath)))
    "keys.kmsPlugin: say where the plugin is: keys.kmsPlugin.sidecar.image or keys.kmsPlugin.hostPath")
  (list (and $k.kmsPlugin.sidecar.image $k.kmsPlugin.hostPath)
    "keys.kmsPlugin.sidecar.image and keys.kmsPlugin.hostPath are both set: keep one")
  (list (and (not $plugin) (or $k.kmsPlugin.sidecar.image $k.kmsPlugin.hostPath))
    "keys.kmsPlugin has no effect: neither config.keys.kind nor config.keys.previous.kind is kms_plugin")
  (list (and (eq $kind "transit") (ne $auth "kubernetes") (not $k.transit.loginSecret))
    (printf "keys.transit.loginSecret is empty: config.keys.transit.auth is %s, which needs a Secret" $auth))
  (list (and (ne $kind "transit") (or $k.transit.caSecret $k.transit.loginSecret))
    (printf "keys.transit has no effect: config.keys.kind is %s" $kind))
  (list (and (eq $before "file") (not $k.previous.keysetSecret))
    "keys.previous.keysetSecret is empty: name the Secret with the keyset before this one")
  (list (and (ne $before "file") $k.previous.keysetSecret)
    (printf "keys.previous.keysetSecret has no effect: config.keys.previous.kind is %s" $before))
  (list (and (eq $before "transit") (ne $authBefore "kubernetes") (not $k.previous.transitLoginSecret))
    (printf "keys.previous.transitLoginSecret is empty: config.keys.previous.transit.auth is %s, which needs a Secret" $authBefore))
  (list (and (ne $before "transit") (or $k.previous.transitCaSecret $k.previous.transitLoginSecret))
    (printf "keys.previous.transitCaSecret and transitLoginSecret have no effect: config.keys.previous.kind is %s" $before))
) -}}
{{- end }}

{{- define "bursar.checks.network" -}}
{{- $v := .Values -}}
{{- $n := $v.networkPolicy -}}
{{- $e := $n.egress -}}
{{- $transit := has "transit" (list (dig "keys" "kind" "file" $v.config) (dig "keys" "previous" "kind" "none" $v.config)) -}}
{{- $mend := "write its peers (namespaceSelector, podSelector or ipBlock), or set networkPolicy.enabled to false" -}}
{{- $wrong := list
  (list (and (not $e.redis.to) (not $v.redis.bundled.enabled))
    (printf "networkPolicy.egress.redis.to is empty, and brokers could not reach Redis: %s" $mend))
  (list (and (not $e.transit.to) $transit)
    (printf "networkPolicy.egress.transit.to is empty, and brokers could not reach the server of config.keys.transit: %s" $mend))
  (list (and (not $e.providers.to) (dig "egress" "proxy" "" $v.config))
    (printf "networkPolicy.egress.providers.to is empty, and brokers could not reach config.egress.proxy: %s; and its port in networkPolicy.egress.providers.ports" $mend))
  (list (and (not $e.providers.to) (eq (dig "egress" "addresses" "public" $v.config) "private"))
    (printf "networkPolicy.egress.providers.to is empty, which is every public address, and config.egress.addresses is private: %s" $mend))
  (list (and $e.kms.to (not $v.keys.kmsPlugin.sidecar.image))
    "networkPolicy.egress.kms has no effect: keys.kmsPlugin.sidecar.image is empty")
  (list (and (not $e.apiServer.to) $v.callers.tokens.cluster.enabled)
    (printf "networkPolicy.egress.apiServer.to is empty, and brokers could not fetch the keys of callers.tokens.cluster: %s" $mend))
  (list (and (not $e.otlp.to) (dig "tracing" "otlp_endpoint" "" $v.config))
    (printf "networkPolicy.egress.otlp.to is empty, and brokers could not reach config.tracing.otlp_endpoint: %s" $mend))
  (list (and (not $n.monitoring) $v.monitoring.serviceMonitor.enabled)
    (printf "networkPolicy.monitoring is empty, and nobody could fetch metrics for monitoring.serviceMonitor: %s" $mend))
  (list (and (not $n.consent) $v.consent.enabled)
    (printf "networkPolicy.consent is empty, and no proxy could reach the page of consent.enabled: %s" $mend))
-}}
{{- if $n.enabled -}}{{- include "bursar.wrong" $wrong -}}{{- else -}}[]{{- end -}}
{{- end }}

{{- define "bursar.checks.trial" -}}
{{- $v := .Values -}}
{{- $t := $v.test -}}
{{- include "bursar.wrong" (list
  (list (and $v.trial.simulator (or $v.autoscaling.enabled (ne (int64 $v.replicas) 1)))
    "trial.simulator needs replicas: 1, as each broker would have a simulated server of its own")
  (list (and $v.trial.simulator (hasKey (dig "egress" dict $v.config) "addresses"))
    "config.egress.addresses and trial.simulator: keep one; with the simulator it is loopback")
  (list (and $v.trial.simulator $v.providers.configMap)
    "providers.configMap and trial.simulator: use providers.files")
  (list (and $v.trial.simulator (not $v.callers.tokens.cluster.enabled))
    "trial.simulator needs callers.tokens.cluster.enabled: `helm test` calls with a service account's token")
  (list (and $v.trial.simulator $t.connection)
    "test.connection and trial.simulator: keep one; with the simulator `helm test` makes a connection")
  (list (and $t.connection (not $t.certificateSecret) (not $v.callers.tokens.cluster.enabled))
    "test.connection needs a caller: name test.certificateSecret, or set callers.tokens.cluster.enabled")
  (list (and $t.connection (eq $v.tls.source "spiffe") (not (and $t.serverSpiffeId $t.caSecret)))
    "test.connection needs test.serverSpiffeId and test.caSecret, as tls.source is spiffe")
  (list (and (not $t.connection) (or $t.certificateSecret $t.serverSpiffeId $t.caSecret) (not $v.trial.simulator))
    "test has no effect: test.connection is empty")
) -}}
{{- end }}
