{{- /* Name of the policy that judges creations; with a request's name behind it, of the policy that judges that request. */ -}}
{{- define "launchway.policy" -}}launchway-requests{{- end -}}

{{- /*
What people ask by annotation, and what an execution waits for while they may. Policies, stamps and the policies that the
operator may read are made from this one table.

steps: who answers a step that waits: with which verb, on the Environment in status.environments or on the Pipeline;
       `answer` is the request that cannot be taken back, so that a rejection comes too late.
roles: the ClusterRole to ask for, by verb.
requests: name and by are annotation keys (launchway.dev/…). value is what may be given (release, time, metrics, boolean,
       reason).
       steps that it answers; none: any moment until the end. secondPerson: never the requester. changeable: another
       value may follow. consumed: CEL, when the annotation means nothing any more and a GitOps tool may drop it.
*/ -}}
{{- define "launchway.requests" -}}
steps:
  codeQuality: {verb: override}
  securityTest: {verb: override}
  reportPerformanceTest: {verb: override}
  productTest: {verb: override}
  functionalTest: {verb: override}
  uiTest: {verb: override}
  approvalStage: {verb: approve, environment: stage, answer: approve-stage}
  approvalProduction: {verb: approve, environment: production, answer: approve-production}
  schedule: {verb: schedule, environment: production}
  managed: {verb: manage, environment: production, answer: managed-go}
  deployProduction: {verb: cancel}
roles: {approve: approver, cancel: developer, manage: support, override: deployment-manager, schedule: deployment-manager}
requests:
- name: approve-stage
  by: approved-stage-by
  value: release
  steps: [approvalStage]
  secondPerson: true
  noun: approval
  article: an approval of stage
  does: approve
  when: approve when stage runs the release and status.waitingFor.step is approvalStage
- name: approve-production
  by: approved-by
  value: release
  steps: [approvalProduction]
  secondPerson: true
  noun: approval
  article: an approval of production
  does: approve
  when: approve when stage has tested the release and status.waitingFor.step is approvalProduction
- name: managed-go
  by: managed-go-by
  value: release
  steps: [managed]
  secondPerson: true
  noun: managed go
  article: the managed go
  does: give the managed go
  when: give it when status.waitingFor.step is managed
- name: schedule
  by: scheduled-by
  value: time
  steps: [schedule]
  changeable: true
  consumed: "!variables.awaited || (has(variables.status.scheduled) && variables.status.scheduled != null && variables.status.scheduled.text == variables.askedBefore)"
  noun: schedule
  article: a schedule
  does: schedule
  when: choose a time when status.waitingFor.step is schedule
- name: override
  by: overridden-by
  value: metrics
  steps: [codeQuality, securityTest, reportPerformanceTest, productTest, functionalTest, uiTest]
  changeable: true
  consumed: "!variables.awaited || (has(variables.status.overrides) && variables.status.overrides != null && variables.status.overrides.exists(taken, variables.askedBefore.startsWith(taken.step + ':')))"
  noun: override
  article: an override
  does: override
  when: override when status.waitingFor.step is the step whose metrics failed
- name: reject
  by: rejected-by
  value: reason
  steps: [codeQuality, securityTest, reportPerformanceTest, productTest, functionalTest, uiTest, approvalStage, approvalProduction, schedule, managed]
  noun: rejection
  article: anybody's word
  does: reject
  when: there is nothing to reject; to stop it, cancel it
- name: resume
  by: resumed-by
  value: boolean
  steps: [deployProduction]
  # What is put off has shown nobody anything yet, and the word would count for the pause that comes later.
  notFor: [Held, WindowClosed]
  noun: resumption
  article: somebody who resumes it
  does: resume
  when: resume or stop a deployment when status.waitingFor.step is deployProduction, and it has paused
- name: cancel
  by: cancelled-by
  value: reason
  noun: cancellation
  does: cancel
{{- end -}}

{{- /* What step is waited for decides: a CEL constant where it is always the same, else a look-up. steps, all, field. */ -}}
{{- define "launchway.byStep" -}}
{{- $values := list -}}
{{- $entries := list -}}
{{- range $step := .steps -}}
  {{- $answer := get $.all $step -}}
  {{- $value := printf "'%s'" $answer.verb -}}
  {{- if eq $.field "resource" -}}
    {{- $value = hasKey $answer "environment" | ternary "'environments'" "'pipelines'" -}}
  {{- else if eq $.field "target" -}}
    {{- $value = printf "variables.%s" (default "pipeline" $answer.environment) -}}
  {{- else if eq $.field "role" -}}
    {{- $value = printf "'%s'" (get $.roles $answer.verb) -}}
  {{- else if eq $.field "answer" -}}
    {{- $value = hasKey $answer "answer" | ternary (printf "variables.after[?'launchway.dev/%s'].orValue('')" (default "" $answer.answer)) "''" -}}
  {{- end -}}
  {{- $values = append $values $value -}}
  {{- $entries = append $entries (printf "'%s': %s" $step $value) -}}
{{- end -}}
{{- if eq (len (uniq $values)) 1 -}}
{{ first $values }}
{{- else -}}
{{ printf "{%s}[?variables.waitsFor].orValue('')" (join ", " $entries) }}
{{- end -}}
{{- end -}}

{{- /* A policy and its binding for one request. root, table, request: an entry of the table. */ -}}
{{- define "launchway.request" -}}
{{- $r := .request -}}
{{- $name := printf "%s-%s" (include "launchway.policy" .root) $r.name -}}
{{- $key := printf "launchway.dev/%s" $r.name -}}
{{- $by := printf "launchway.dev/%s" $r.by -}}
{{- $where := dict "steps" $r.steps "all" .table.steps "roles" .table.roles -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $name }}
  labels:
    {{- include "launchway.labels" .root | nindent 4 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    matchPolicy: Equivalent
    resourceRules:
    - apiGroups: [launchway.dev]
      apiVersions: ["*"]
      operations: [UPDATE]
      resources: [pipelineexecutions]
  variables:
  - name: user
    expression: request.userInfo.username
  - name: name
    expression: object.metadata.name
  - name: after
    expression: object.metadata.?annotations.orValue({})
  - name: before
    expression: oldObject.metadata.?annotations.orValue({})
  - name: asked
    expression: variables.after[?'{{ $key }}'].orValue('')
  - name: askedBefore
    expression: variables.before[?'{{ $key }}'].orValue('')
  - name: by
    expression: variables.after[?'{{ $by }}'].orValue('')
  - name: byBefore
    expression: variables.before[?'{{ $by }}'].orValue('')
  - name: asking
    expression: variables.asked != '' && variables.asked != variables.askedBefore
  # Always what is stored: a client cannot send a status with its request. A null is as good as nothing.
  - name: status
    expression: "!has(oldObject.status) || oldObject.status == null ? {} : oldObject.status"
  - name: ended
    expression: has(variables.status.completionTime) && variables.status.completionTime != null
  - name: pipeline
    expression: object.spec.pipelineRef.name
  {{- if $r.steps }}
  - name: waitsFor
    expression: "has(variables.status.waitingFor) && variables.status.waitingFor != null ? variables.status.waitingFor.step : ''"
  - name: awaited
    expression: "!variables.ended && variables.waitsFor in ['{{ join "', '" $r.steps }}']
      {{- if $r.notFor }} && !(has(variables.status.steps) && variables.status.steps != null
      && variables.status.steps.exists(step, step.name == variables.waitsFor && has(step.reason)
      && step.reason in ['{{ join "', '" $r.notFor }}'])){{ end }}"
  {{- $environments := list -}}
  {{- range $step := $r.steps -}}
    {{- $environments = append $environments (default "" (get $.table.steps $step).environment) -}}
  {{- end }}
  {{- range $environment := compact (uniq $environments) }}
  - name: {{ $environment }}
    expression: >-
      has(variables.status.environments) && variables.status.environments != null && has(variables.status.environments.{{ $environment }})
      && variables.status.environments.{{ $environment }} != null ? variables.status.environments.{{ $environment }} : ''
  {{- end }}
  - name: verb
    expression: "{{ include "launchway.byStep" (merge (dict "field" "verb") $where) }}"
  - name: resource
    expression: "{{ include "launchway.byStep" (merge (dict "field" "resource") $where) }}"
  - name: target
    expression: "{{ include "launchway.byStep" (merge (dict "field" "target") $where) }}"
  - name: role
    expression: "{{ include "launchway.byStep" (merge (dict "field" "role") $where) }}"
  {{- else }}
  - name: awaited
    expression: "!variables.ended"
  - name: verb
    expression: "'{{ $r.name }}'"
  - name: resource
    expression: "'pipelines'"
  - name: target
    expression: variables.pipeline
  - name: role
    expression: "'{{ get .table.roles $r.name }}'"
  {{- end }}
  {{- if eq $r.value "release" }}
  - name: release
    expression: "has(variables.status.release) && variables.status.release != null ? variables.status.release : ''"
  - name: approvals
    expression: "has(variables.status.approvals) && variables.status.approvals != null ? variables.status.approvals : []"
  {{- end }}
  {{- if $r.secondPerson }}
  - name: requester
    expression: "has(oldObject.spec.requestedBy) && oldObject.spec.requestedBy != null ? oldObject.spec.requestedBy : ''"
  {{- end }}
  # Once the operator has copied the request into status, or nothing can come of it any more, the annotation means
  # nothing. GitOps tools that drop what their repository does not hold may then remove it; before, its removal would be
  # a withdrawal.
  - name: consumed
    {{- if eq $r.value "release" }}
    expression: >-
      variables.ended || variables.approvals.exists(approval, approval.step == '{{ first $r.steps }}'
      && (variables.askedBefore == '' || approval.release == variables.askedBefore))
    {{- else if $r.consumed }}
    expression: "{{ $r.consumed }}"
    {{- else }}
    expression: variables.ended
    {{- end }}
  validations:
  {{- if $r.changeable }}
  # Another value is another request. None is none.
  - expression: "variables.askedBefore == '' || variables.asked != '' || variables.consumed"
    message: "the {{ $r.noun }} cannot be taken away: set another one, or cancel the execution"
    messageExpression: >-
      "the {{ $r.noun }} of PipelineExecution '" + variables.name + "' cannot be taken away: set another one, or cancel the execution (kubectl launchway cancel " + variables.name + ")"
  {{- else }}
  - expression: "variables.askedBefore == '' || variables.asked == variables.askedBefore || (variables.asked == '' && variables.consumed)"
    {{- if eq $r.value "release" }}
    message: "the {{ $r.noun }} cannot be changed or withdrawn: to stop the execution, cancel it"
    messageExpression: >-
      "the {{ $r.noun }} of PipelineExecution '" + variables.name + "' cannot be changed or withdrawn: to stop the execution, cancel it (kubectl launchway cancel " + variables.name + ")"
    {{- else }}
    message: "a {{ $r.noun }} cannot be changed or withdrawn: run the pipeline again"
    {{- end }}
  {{- end }}
  - expression: "!variables.asking || variables.awaited"
    {{- if $r.steps }}
    message: "the execution does not wait for {{ $r.article }}: {{ $r.when }}"
    messageExpression: >-
      "PipelineExecution '" + variables.name + "' does not wait for {{ $r.article }} ("
      + (variables.ended ? "it has ended" : variables.waitsFor == '' ? "status.waitingFor is empty" : "it waits for " + variables.waitsFor)
      + "): {{ $r.when }}"
    {{- else }}
    message: "the execution has ended: there is nothing to {{ $r.does }}"
    messageExpression: "\"PipelineExecution '\" + variables.name + \"' has ended: there is nothing to {{ $r.does }}\""
    {{- end }}
  - expression: >-
      !variables.asking || (variables.target != '' && authorizer.group('launchway.dev').resource(variables.resource).namespace(request.namespace).name(variables.target).check(variables.verb).allowed())
    reason: Forbidden
    message: "needs a verb on the Environment or Pipeline that is concerned: ask for the ClusterRole of deployment managers, approvers or support"
    messageExpression: >-
      "user '" + variables.user + "' may not {{ $r.does }}" + (variables.resource == 'pipelines' ? " executions of Pipeline '" : " for Environment '") + variables.target
      + "' in namespace '" + request.namespace + "': it needs the verb " + variables.verb + " on " + variables.resource + ".launchway.dev; ask for the ClusterRole launchway-" + variables.role
  {{- if $r.secondPerson }}
  - expression: "!variables.asking || (variables.requester != '' && variables.requester != variables.user)"
    reason: Forbidden
    message: "nobody approves a PipelineExecution that they requested: ask another approver"
    messageExpression: >-
      variables.requester == ''
      ? "PipelineExecution '" + variables.name + "' does not say who requested it, so nobody can approve it: create another one"
      : "user '" + variables.user + "' requested PipelineExecution '" + variables.name + "' and cannot approve it: ask another approver"
  {{- end }}
  {{- if eq $r.value "release" }}
  - expression: "!variables.asking || (variables.asked.startsWith('sha256:') && variables.release.endsWith('@' + variables.asked))"
    message: "the {{ $r.noun }} must name the digest of the release (the part of status.release after @)"
    messageExpression: >-
      "the {{ $r.noun }} must name the release of this execution: {{ $key }} must be the part after @ of status.release, which is '"
      + variables.release + "'"
  {{- else if eq $r.value "time" }}
  # A zone is a must: people and pods live in several. Whether it exists is for the operator to say.
  - expression: >-
      !variables.asking || (variables.asked.size() <= 64 && variables.asked.matches(r'^(now|[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?\[[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*\])$'))
    message: "{{ $key }} must be now, or a date and time with its zone in at most 64 characters, such as 2026-11-21T22:00[Europe/Zurich]"
  {{- else if eq $r.value "metrics" }}
  - expression: "!variables.asking || variables.asked.startsWith(variables.waitsFor + ':')"
    message: "the override must begin with the step that waits and a colon, such as codeQuality:coverage"
    messageExpression: >-
      "{{ $key }} must begin with the step that waits, '" + variables.waitsFor + ":', and name every important metric that failed: see status.waitingFor"
  - expression: "!variables.asking || (variables.asked.size() <= 2700 && variables.asked.split(',').size() <= 40 && variables.asked.matches(r'^[A-Za-z]+:[A-Za-z0-9][A-Za-z0-9_.-]{0,63}(,[A-Za-z0-9][A-Za-z0-9_.-]{0,63})*$'))"
    message: "{{ $key }} must be STEP:METRIC,METRIC without blanks, at most 40 metrics, such as codeQuality:coverage,security_rating"
  {{- else if eq $r.value "boolean" }}
  - expression: "!variables.asking || variables.asked in ['true', 'false']"
    message: "{{ $key }} must be true, to let the deployment go on, or false, to stop it where it is"
  {{- else }}
  # Reasons end up in status, which is bounded.
  - expression: "!variables.asking || variables.asked.size() <= 512"
    message: "a reason may have at most 512 characters: shorten {{ $key }}"
  {{- end }}
  {{- if eq $r.name "reject" }}
  - expression: {{ printf "!variables.asking || %s == ''" (include "launchway.byStep" (merge (dict "field" "answer") $where)) | quote }}
    message: "the release was approved already: to stop the execution, cancel it"
  {{- else if $r.steps }}
  - expression: "!variables.asking || variables.after[?'launchway.dev/reject'].orValue('') == ''"
    message: "the execution was rejected already: run the pipeline again"
  {{- end }}
  - expression: "!variables.asking || variables.by == variables.user"
    message: "{{ $by }} must be the user who asks"
    messageExpression: >-
      "{{ $by }} must be '" + variables.user + "', the user who asks"
      + (variables.by == '' ? ", and this cluster does not fill it in: set it in the same patch" : ", not '" + variables.by + "': leave it out, or set it to your own name")
  - expression: "variables.asking || variables.by == variables.byBefore || (variables.by == '' && variables.consumed)"
    message: "{{ $by }} changes only together with the {{ $r.noun }}: leave it as it is"
  auditAnnotations:
  - key: by
    valueExpression: "variables.asking ? variables.user{{ if ne $r.value "reason" }} + ' ' + variables.asked{{ end }} : ''"
---
{{ include "launchway.binding" (dict "root" .root "name" $name) }}
{{- end -}}

{{- /* Binds a policy everywhere, and denies. root, name. */ -}}
{{- define "launchway.binding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "launchway.labels" .root | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end -}}
