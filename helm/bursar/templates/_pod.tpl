{{/* The pod of a broker, in a Deployment or a StatefulSet. */}}
{{- define "bursar.pod" -}}
{{- $v := .Values -}}
{{- $mounts := (include "bursar.parts" . | fromJson).mounts -}}
metadata:
  labels:
    {{- include "bursar.labels" (list . "broker") | nindent 4 }}
    {{- with $v.pod.labels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    # What brokers read at the start only: a change of it rolls them. Policies, issuers, certificates and keysets are read again.
    checksum/config: {{ include "bursar.config" . | sha256sum }}
    checksum/providers: {{ include "bursar.providers" . | sha256sum }}
    {{- with $v.pod.annotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "bursar.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "bursar.terminationGrace" . }}
  securityContext: {{- include "bursar.podSecurity" (list $v.pod.runAsUser $v.pod.fsGroup) | nindent 4 }}
  {{- with $v.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $v.pod.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $v.pod.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.pod.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.pod.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if ne $v.pod.spread "off" }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: {{ $v.pod.spread }}
      labelSelector:
        matchLabels: {{- include "bursar.selector" (list $ "broker") | nindent 10 }}
      # Each revision for itself: those that are about to end do not count.
      matchLabelKeys: [{{ ternary "controller-revision-hash" "pod-template-hash" (eq $v.audit.storage.kind "perReplica") }}]
    {{- end }}
  {{- end }}
  {{- if or $v.keys.kmsPlugin.sidecar.image $v.trial.simulator }}
  # Sidecars: they begin before the broker and end after it.
  initContainers:
    {{- with $v.keys.kmsPlugin.sidecar }}
    {{- if .image }}
    - name: kms-plugin
      image: {{ .image }}
      restartPolicy: Always
      {{- with .args }}
      args: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .env }}
      env:
        {{- range $name, $value := . }}
        - {name: {{ $name }}, value: {{ $value | quote }}}
        {{- end }}
      {{- end }}
      securityContext: {{- include "bursar.containerSecurity" . | nindent 8 }}
      resources: {{- toYaml .resources | nindent 8 }}
      volumeMounts:
        - {name: kms, mountPath: /run/bursar/kms}
        {{- if .secretName }}
        - {name: kms-secret, mountPath: /etc/kms, readOnly: true}
        {{- end }}
    {{- end }}
    {{- end }}
    {{- if $v.trial.simulator }}
    - name: simulator
      image: {{ include "bursar.image" . }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      restartPolicy: Always
      args: [simulate, oauth, --port, "9100", --control-port, "9109"]
      securityContext: {{- include "bursar.containerSecurity" . | nindent 8 }}
      resources:
        requests: {cpu: 50m, memory: 32Mi}
        limits: {cpu: 500m, memory: 128Mi}
    {{- end }}
  {{- end }}
  containers:
    - name: bursar
      image: {{ include "bursar.image" . }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args: [serve, --config, /etc/bursar/config/bursar.toml]
      env:
        - name: BURSAR_REPLICA
          valueFrom:
            fieldRef: {fieldPath: metadata.name}
      ports: {{- include "bursar.ports" . | nindent 8 }}
      securityContext: {{- include "bursar.containerSecurity" . | nindent 8 }}
      resources: {{- toYaml $v.resources | nindent 8 }}
      # A start may wait for the KEK's owner or the SPIFFE agent; alive it is all the while.
      startupProbe:
        httpGet: {path: /livez, port: monitoring}
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /livez, port: monitoring}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: monitoring}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      {{- if $v.rollout.preStopSeconds }}
      # The cluster tells clients that this pod goes while it still takes their connections.
      lifecycle:
        preStop:
          sleep: {seconds: {{ int64 $v.rollout.preStopSeconds }}}
      {{- end }}
      volumeMounts:
        - {name: data, mountPath: /var/lib/bursar}
        {{- range $mounts }}
        - {name: {{ .name }}, mountPath: {{ .path }}{{ if ne .name "kms" }}, readOnly: true{{ end }}}
        {{- end }}
  volumes:
    {{- if eq $v.audit.storage.kind "emptyDir" }}
    - name: data
      emptyDir: {sizeLimit: {{ $v.audit.storage.size }}}
    {{- else if ne $v.audit.storage.kind "perReplica" }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ $v.audit.storage.existingClaim | default (printf "%s-data" (include "bursar.fullname" .)) }}
    {{- end }}
    {{- range $mounts }}
    - name: {{ .name }}
      {{- toYaml .volume | nindent 6 }}
    {{- end }}
    {{- with $v.keys.kmsPlugin.sidecar.secretName }}
    - name: kms-secret
      secret: {secretName: {{ . }}, defaultMode: 288}
    {{- end }}
{{- end }}
