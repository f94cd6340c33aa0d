{{/*
What is mounted into a broker and what bursar.toml says of it: decided in one place, so that the two cannot differ. JSON with
`flat` (keys of bursar.toml), `mounts` (name, path, volume).
*/}}
{{- define "bursar.parts" -}}
{{- $v := .Values -}}
{{- $full := include "bursar.fullname" . -}}
{{- $mode := 288 -}}{{/* 0440 */}}
{{- $flat := dict "listen" (printf "%s:7600" $v.service.bind) "data_dir" "/var/lib/bursar" "audit.dir" "/var/lib/bursar/audit"
      "monitoring.listen" (printf "%s:9464" $v.service.bind) "store.kind" "redis" -}}
{{- $mounts := list (dict "name" "config" "path" "/etc/bursar/config" "volume" (dict "configMap" (dict "name" (printf "%s-config" $full)))) -}}

{{/* The server's certificate. */}}
{{- $agent := eq $v.callers.spiffe.bundles "workload_api" -}}
{{- if eq $v.tls.source "spiffe" -}}
{{- $agent = true -}}
{{- $_ := set $flat "tls.certificate" "workload_api" -}}
{{- else -}}
{{- $_ := set $flat "tls.certificate" "files" -}}
{{- $_ := set $flat "tls.cert_file" "/etc/bursar/tls/tls.crt" -}}
{{- $_ := set $flat "tls.key_file" "/etc/bursar/tls/tls.key" -}}
{{- $items := list (dict "key" "tls.crt" "path" "tls.crt") (dict "key" "tls.key" "path" "tls.key") -}}
{{- $secret := dict "secretName" (include "bursar.tlsSecret" .) "defaultMode" $mode "items" $items -}}
{{- $mounts = append $mounts (dict "name" "tls" "path" "/etc/bursar/tls" "volume" (dict "secret" $secret)) -}}
{{- end -}}

{{/* Callers. */}}
{{- with $v.callers.spiffe -}}
{{- if eq .bundles "configMap" -}}
{{- $_ := set $flat "identity.spiffe.bundles" "files" -}}
{{- $_ := set $flat "identity.spiffe.bundles_dir" "/etc/bursar/bundles" -}}
{{- $mounts = append $mounts (dict "name" "bundles" "path" "/etc/bursar/bundles" "volume" (dict "configMap" (dict "name" .configMap))) -}}
{{- else if eq .bundles "workload_api" -}}
{{- $_ := set $flat "identity.spiffe.bundles" "workload_api" -}}
{{- end -}}
{{- end -}}
{{- if $agent -}}
{{- $_ := set $flat "identity.spiffe.workload_api" (printf "unix:///run/spiffe/%s" $v.spiffe.socket) -}}
{{- $mounts = append $mounts (dict "name" "spiffe" "path" "/run/spiffe" "volume" (dict "csi" (dict "driver" $v.spiffe.driver "readOnly" true))) -}}
{{- end -}}
{{- with $v.callers.certificates.configMap -}}
{{- $_ := set $flat "identity.dns.ca_file" "/etc/bursar/clients-ca/ca.crt" -}}
{{- $mounts = append $mounts (dict "name" "clients-ca" "path" "/etc/bursar/clients-ca" "volume" (dict "configMap" (dict "name" .))) -}}
{{- end -}}
{{- with $v.callers.tokens -}}
{{- if or .cluster.enabled .issuers -}}
{{- $_ := set $flat "identity.tokens.issuers_dir" "/etc/bursar/issuers" -}}
{{- $mounts = append $mounts (dict "name" "issuers" "path" "/etc/bursar/issuers" "volume" (dict "configMap" (dict "name" (printf "%s-issuers" $full)))) -}}
{{- end -}}
{{- if .cluster.enabled -}}
{{/* The pod's own token for the API server: what it shows to be told the keys, and to ask for a TokenReview. */}}
{{- $token := dict "serviceAccountToken" (dict "path" "token" "expirationSeconds" 3607) -}}
{{- $root := dict "configMap" (dict "name" "kube-root-ca.crt" "items" (list (dict "key" "ca.crt" "path" "ca.crt"))) -}}
{{- $mounts = append $mounts (dict "name" "cluster" "path" "/var/run/secrets/bursar/cluster" "volume"
      (dict "projected" (dict "defaultMode" $mode "sources" (list $token $root)))) -}}
{{- if .cluster.review -}}
{{- $_ := set $flat "identity.token_review.address" "https://kubernetes.default.svc" -}}
{{- $_ := set $flat "identity.token_review.issuers" "cluster" -}}
{{- $_ := set $flat "identity.token_review.ca_file" "/var/run/secrets/bursar/cluster/ca.crt" -}}
{{- $_ := set $flat "identity.token_review.token_file" "/var/run/secrets/bursar/cluster/token" -}}
{{- end -}}
{{- end -}}
{{- with .filesConfigMap -}}
{{- $mounts = append $mounts (dict "name" "issuer-files" "path" "/etc/bursar/issuer-files" "volume" (dict "configMap" (dict "name" .))) -}}
{{- end -}}
{{- end -}}

{{/* Policies and profiles. */}}
{{- $_ := set $flat "policy.dir" "/etc/bursar/policies" -}}
{{- $policies := $v.policies.configMap | default (printf "%s-policies" $full) -}}
{{- $mounts = append $mounts (dict "name" "policies" "path" "/etc/bursar/policies" "volume" (dict "configMap" (dict "name" $policies))) -}}
{{- if $v.policies.shadow -}}
{{- $_ := set $flat "policy.shadow_dir" "/etc/bursar/policies-shadow" -}}
{{- $shadow := dict "configMap" (dict "name" (printf "%s-policies-shadow" $full)) -}}
{{- $mounts = append $mounts (dict "name" "policies-shadow" "path" "/etc/bursar/policies-shadow" "volume" $shadow) -}}
{{- end -}}
{{- if or $v.providers.files $v.providers.configMap $v.trial.simulator -}}
{{- $_ := set $flat "providers.dir" "/etc/bursar/providers" -}}
{{- $providers := $v.providers.configMap | default (printf "%s-providers" $full) -}}
{{- $mounts = append $mounts (dict "name" "providers" "path" "/etc/bursar/providers" "volume" (dict "configMap" (dict "name" $providers))) -}}
{{- end -}}
{{- if $v.trial.simulator -}}
{{- $_ := set $flat "egress.addresses" "loopback" -}}
{{- end -}}

{{/* Redis. */}}
{{- if $v.redis.bundled.enabled -}}
{{- $_ := set $flat "store.redis.url" (printf "redis://%s-redis:6379" $full) -}}
{{- $_ := set $flat "store.redis.username" "bursar" -}}
{{- $_ := set $flat "store.redis.password_file" "/etc/bursar/redis/password" -}}
{{- $secret := dict "secretName" (printf "%s-redis" $full) "defaultMode" $mode "items" (list (dict "key" "password" "path" "password")) -}}
{{- $mounts = append $mounts (dict "name" "redis" "path" "/etc/bursar/redis" "volume" (dict "secret" $secret)) -}}
{{- else -}}
{{- with $v.redis.passwordSecret -}}
{{- if .name -}}
{{- $items := list (dict "key" .key "path" "password") -}}
{{- $_ := set $flat "store.redis.password_file" "/etc/bursar/redis/password" -}}
{{- if .sentinelKey -}}
{{- $items = append $items (dict "key" .sentinelKey "path" "sentinel-password") -}}
{{- $_ := set $flat "store.redis.sentinel_password_file" "/etc/bursar/redis/sentinel-password" -}}
{{- end -}}
{{- $secret := dict "secretName" .name "defaultMode" $mode "items" $items -}}
{{- $mounts = append $mounts (dict "name" "redis" "path" "/etc/bursar/redis" "volume" (dict "secret" $secret)) -}}
{{- end -}}
{{- end -}}
{{- with $v.redis.tls -}}
{{- $sources := list -}}
{{- with .caSecret -}}
{{- $_ := set $flat "store.redis.ca_file" "/etc/bursar/redis-tls/ca.crt" -}}
{{- $sources = append $sources (dict "secret" (dict "name" . "items" (list (dict "key" "ca.crt" "path" "ca.crt")))) -}}
{{- end -}}
{{- with .clientSecret -}}
{{- $_ := set $flat "store.redis.cert_file" "/etc/bursar/redis-tls/tls.crt" -}}
{{- $_ := set $flat "store.redis.key_file" "/etc/bursar/redis-tls/tls.key" -}}
{{- $items := list (dict "key" "tls.crt" "path" "tls.crt") (dict "key" "tls.key" "path" "tls.key") -}}
{{- $sources = append $sources (dict "secret" (dict "name" . "items" $items)) -}}
{{- end -}}
{{- if $sources -}}
{{- $volume := dict "projected" (dict "defaultMode" $mode "sources" $sources) -}}
{{- $mounts = append $mounts (dict "name" "redis-tls" "path" "/etc/bursar/redis-tls" "volume" $volume) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Keys: those in use, then those before them. */}}
{{- $kinds := list (dig "keys" "kind" "file" $v.config) (dig "keys" "previous" "kind" "none" $v.config) -}}
{{- range $n, $kind := $kinds -}}
{{- $prefix := index (list "keys" "keys.previous") $n -}}
{{- $folder := index (list "keys" "keys-previous") $n -}}
{{- if eq $kind "file" -}}
{{- $_ := set $flat (printf "%s.keyset_file" $prefix) (printf "/etc/bursar/%s/keyset" $folder) -}}
{{- $secret := index (list $v.keys.keyset.secretName $v.keys.previous.keysetSecret) $n -}}
{{- $key := index (list $v.keys.keyset.key $v.keys.previous.keysetKey) $n -}}
{{- $volume := dict "secret" (dict "secretName" $secret "defaultMode" $mode "items" (list (dict "key" $key "path" "keyset"))) -}}
{{- if and (eq $n 0) $v.keys.keyset.csi.secretProviderClass -}}
{{- $_ := set $flat "keys.keyset_file" (printf "/etc/bursar/keys/%s" $key) -}}
{{- $attributes := dict "secretProviderClass" $v.keys.keyset.csi.secretProviderClass -}}
{{- $volume = dict "csi" (dict "driver" $v.keys.keyset.csi.driver "readOnly" true "volumeAttributes" $attributes) -}}
{{- end -}}
{{- $mounts = append $mounts (dict "name" $folder "path" (printf "/etc/bursar/%s" $folder) "volume" $volume) -}}
{{- else if eq $kind "kms_plugin" -}}
{{- $_ := set $flat (printf "%s.kms_plugin.socket" $prefix) (printf "/run/bursar/kms/%s" $v.keys.kmsPlugin.socket) -}}
{{- else if eq $kind "transit" -}}
{{- $ca := index (list $v.keys.transit.caSecret $v.keys.previous.transitCaSecret) $n -}}
{{- $login := index (list $v.keys.transit.loginSecret $v.keys.previous.transitLoginSecret) $n -}}
{{- $table := index (list (dig "keys" "transit" dict $v.config) (dig "keys" "previous" "transit" dict $v.config)) $n -}}
{{- $auth := dig "auth" "token_file" $table -}}
{{- $sources := list -}}
{{- with $ca -}}
{{- $_ := set $flat (printf "%s.transit.ca_file" $prefix) (printf "/etc/bursar/%s/ca.crt" $folder) -}}
{{- $sources = append $sources (dict "secret" (dict "name" . "items" (list (dict "key" "ca.crt" "path" "ca.crt")))) -}}
{{- end -}}
{{- if eq $auth "token_file" -}}
{{- $_ := set $flat (printf "%s.transit.token_file" $prefix) (printf "/etc/bursar/%s/token" $folder) -}}
{{- $sources = append $sources (dict "secret" (dict "name" $login "items" (list (dict "key" "token" "path" "token")))) -}}
{{- else if eq $auth "app_role" -}}
{{- $_ := set $flat (printf "%s.transit.secret_id_file" $prefix) (printf "/etc/bursar/%s/secret-id" $folder) -}}
{{- $sources = append $sources (dict "secret" (dict "name" $login "items" (list (dict "key" "secret-id" "path" "secret-id")))) -}}
{{- else -}}
{{- $_ := set $flat (printf "%s.transit.jwt_file" $prefix) (printf "/etc/bursar/%s/jwt" $folder) -}}
{{- $token := dict "path" "jwt" "audience" $v.keys.transit.audience "expirationSeconds" 3607 -}}
{{- $sources = append $sources (dict "serviceAccountToken" $token) -}}
{{- end -}}
{{- $volume := dict "projected" (dict "defaultMode" $mode "sources" $sources) -}}
{{- $mounts = append $mounts (dict "name" $folder "path" (printf "/etc/bursar/%s" $folder) "volume" $volume) -}}
{{- end -}}
{{- end -}}
{{- if has "kms_plugin" $kinds -}}
{{- $volume := dict "emptyDir" (dict "medium" "Memory" "sizeLimit" "1Mi") -}}
{{- with $v.keys.kmsPlugin.hostPath -}}
{{- $volume = dict "hostPath" (dict "path" . "type" "Directory") -}}
{{- end -}}
{{- $mounts = append $mounts (dict "name" "kms" "path" "/run/bursar/kms" "volume" $volume) -}}
{{- end -}}

{{- if $v.consent.enabled -}}
{{- $_ := set $flat "authorization.listen" (printf "%s:7680" $v.service.bind) -}}
{{- end -}}
{{- with $v.tracing.caSecret -}}
{{- $_ := set $flat "tracing.ca_file" "/etc/bursar/tracing/ca.crt" -}}
{{- $secret := dict "secretName" . "defaultMode" $mode "items" (list (dict "key" "ca.crt" "path" "ca.crt")) -}}
{{- $mounts = append $mounts (dict "name" "tracing" "path" "/etc/bursar/tracing" "volume" (dict "secret" $secret)) -}}
{{- end -}}
{{- dict "flat" $flat "mounts" $mounts | toJson -}}
{{- end }}

{{/* bursar.toml. */}}
{{- define "bursar.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- range $key, $value := (include "bursar.parts" . | fromJson).flat -}}
{{- $at := $config -}}
{{- $words := splitList "." $key -}}
{{- range initial $words -}}
{{- if not (kindIs "map" (get $at .)) -}}{{- $_ := set $at . dict -}}{{- end -}}
{{- $at = get $at . -}}
{{- end -}}
{{- $_ := set $at (last $words) $value -}}
{{- end -}}
# Written by the chart {{ .Chart.Name }} of its values. The name of the replica comes in as BURSAR_REPLICA.
{{- include "bursar.toml" (dict "table" $config "path" "") }}
{{- end }}

{{/* A table as TOML: its keys, then the tables in it. Helm's own toToml writes whole numbers as fractions. */}}
{{- define "bursar.toml" -}}
{{- range $key, $value := .table }}
{{- if not (kindIs "map" $value) }}
{{ $key }} = {{ if kindIs "float64" $value }}{{ int64 $value }}{{ else }}{{ toJson $value }}{{ end }}
{{- end }}
{{- end }}
{{- range $key, $value := .table }}
{{- if kindIs "map" $value }}
{{- $path := trimPrefix "." (printf "%s.%s" $.path $key) }}
{{- $inside := include "bursar.toml" (dict "table" $value "path" $path) }}
{{- if $inside }}

[{{ $path }}]
{{- $inside }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Files of issuers. */}}
{{- define "bursar.issuers" -}}
{{- $files := deepCopy .Values.callers.tokens.issuers -}}
{{- with .Values.callers.tokens.cluster -}}
{{- if .enabled -}}
{{- $lines := list
      (printf "issuer = %s" (toJson .issuer))
      (printf "audiences = %s" (toJson (include "bursar.audiences" $)))
      "keys = \"address\""
      (printf "jwks_uri = %s" (toJson .jwksUri))
      "ca_file = \"/var/run/secrets/bursar/cluster/ca.crt\""
      "token_file = \"/var/run/secrets/bursar/cluster/token\""
      "subject_prefix = \"system:serviceaccount:\""
      "max_lifetime = \"24h\"" -}}
{{- $_ := set $files "cluster.toml" (printf "%s\n" (join "\n" $lines)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $files -}}
{{- end }}

{{/* Provider profiles of the values, and the simulator's. */}}
{{- define "bursar.providers" -}}
{{- $files := deepCopy .Values.providers.files -}}
{{- if .Values.trial.simulator -}}
{{- $_ := set $files "oauth-simulator.toml" (.Files.Get "files/oauth-simulator.toml") -}}
{{- end -}}
{{- toYaml $files -}}
{{- end }}
